/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each system call of the table in calls.c, made so that it blocks: for ever, for a time, or until
 * data is moved. A call of another thread is never in the way: each has descriptors, queues and
 * semaphores of its own.
 */
#ifndef GENCORE_TESTS_CALLS_TO_MAKE_H
#define GENCORE_TESTS_CALLS_TO_MAKE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

enum {
	TIMEOUT_MS = 600,
	SIZE = 1 << 20,
};

/* The call is the caller's own, not its last one: its number is read from the code around it. */
#define RAW(...)                                     \
	({                                           \
		long raw_result = syscall(__VA_ARGS__); \
		__asm__ volatile("");                \
		raw_result;                          \
	})

static char block[SIZE];
static struct iovec vector = {.iov_base = block, .iov_len = SIZE};
static struct iovec byte_vector = {.iov_base = block, .iov_len = 1};

/* ------------------------------------------------------------------------- what calls wait for */

static const struct timespec constant_span = {.tv_nsec = TIMEOUT_MS * 1000000L};
static const struct timeval constant_timeval = {.tv_usec = TIMEOUT_MS * 1000};

static struct timespec *relative(void)
{
	static _Thread_local struct timespec span;

	span = constant_span;
	return &span;
}

/* Not inlined: between the load of a call's number and the call is no more than its arguments. */
static __attribute__((noinline)) struct timespec *absolute(clockid_t clock)
{
	static _Thread_local struct timespec at;

	clock_gettime(clock, &at);
	at.tv_nsec += TIMEOUT_MS * 1000000L;
	at.tv_sec += at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	return &at;
}

static void give_up(const char *what)
{
	perror(what);
	_exit(1);
}

static int check(int result, const char *what)
{
	if (result < 0)
		give_up(what);
	return result;
}

static int empty_pipe(void)
{
	int fds[2];

	check(pipe(fds), "pipe");
	return fds[0];
}

static int full_pipe(void)
{
	int fds[2];

	check(pipe2(fds, O_NONBLOCK), "pipe");
	while (write(fds[1], block, sizeof(block)) > 0)
		;
	fcntl(fds[1], F_SETFL, 0);
	return fds[1];
}

/* Nothing to receive. One for each thread, so that a round finds it as the last one left it. */
static int quiet_socket(void)
{
	static _Thread_local int fds[2] = {-1, -1};

	if (fds[0] < 0)
		check(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair");
	return fds[0];
}

/* No room to send. */
static int full_socket(void)
{
	static _Thread_local int fd = -1;

	if (fd < 0) {
		fd = quiet_socket();
		while (send(fd, block, 1024, MSG_DONTWAIT) > 0)
			;
	}
	return fd;
}

static int with_option(int fd, int option)
{
	setsockopt(fd, SOL_SOCKET, option, &constant_timeval, sizeof(constant_timeval));
	return fd;
}

static int quiet_for_a_while(void)
{
	return with_option(quiet_socket(), SO_RCVTIMEO);
}

static int full_for_a_while(void)
{
	return with_option(full_socket(), SO_SNDTIMEO);
}

/* A listener to which nobody connects. */
static int listener(void)
{
	static _Thread_local int fd = -1;

	if (fd < 0) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		check(listen(fd, 1), "listen");
	}
	return fd;
}

/* A socket that waits for its turn in a full backlog. */
static long connect_waits(int option)
{
	static _Thread_local int waiting = -1;
	static _Thread_local struct sockaddr_un address;
	static _Thread_local socklen_t size = sizeof(address);

	if (waiting < 0) {
		int server = socket(AF_UNIX, SOCK_STREAM, 0);
		struct sockaddr_un unnamed = {.sun_family = AF_UNIX};

		check(bind(server, (void *)&unnamed, sizeof(sa_family_t)), "bind");
		getsockname(server, (void *)&address, &size);
		listen(server, 0);
		check(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address, size), "connect");
		waiting = socket(AF_UNIX, SOCK_STREAM, 0);
		if (option)
			with_option(waiting, option);
	}
	return connect(waiting, (void *)&address, size);
}

static int file_of(int size)
{
	int fd = memfd_create("file", 0);

	return check(ftruncate(fd, size), "ftruncate") < 0 ? -1 : fd;
}

/* A queue with room for one message. */
static mqd_t message_queue(void)
{
	static _Thread_local mqd_t queue = -1;
	struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 16};
	char name[64];

	if (queue >= 0)
		return queue;
	snprintf(name, sizeof(name), "/gencore-test-%ld", syscall(SYS_gettid));
	queue = check(mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes), "mq_open");
	mq_unlink(name);
	return queue;
}

static mqd_t full_message_queue(void)
{
	mqd_t queue = message_queue();

	mq_timedsend(queue, "x", 1, 0, &(struct timespec){0});
	return queue;
}

static struct {
	_Atomic int count;
	int ids[32];
	bool queues[32];
} system_v;

static int noted(int id, bool queue)
{
	int index = atomic_fetch_add(&system_v.count, 1);

	system_v.ids[index] = check(id, "System V");
	system_v.queues[index] = queue;
	return id;
}

static void remove_system_v(void)
{
	for (int i = 0; i < system_v.count; i++)
		if (system_v.queues[i])
			msgctl(system_v.ids[i], IPC_RMID, NULL);
		else
			semctl(system_v.ids[i], 0, IPC_RMID);
}

static int semaphore(void)
{
	static _Thread_local int id = -1;

	return id >= 0 ? id : (id = noted(semget(IPC_PRIVATE, 1, 0600), false));
}

static struct sembuf down = {.sem_op = -1};

static struct {
	long type;
	char text[1024];
} message = {.type = 1};

static int epoll_set(void)
{
	static _Thread_local int fd = -1;

	return fd >= 0 ? fd : (fd = epoll_create1(0));
}

static struct epoll_event event;

static aio_context_t aio(void)
{
	static _Thread_local aio_context_t context;

	if (!context)
		check((int)syscall(SYS_io_setup, 1, &context), "io_setup");
	return context;
}

static struct io_event io_event;

static struct io_uring_params uring_parameters;

static int uring(void)
{
	static _Thread_local int fd = -1;

	if (fd < 0) {
		struct io_uring_params parameters = {0};

		fd = (int)syscall(SYS_io_uring_setup, 4, &parameters);
		uring_parameters = parameters; /* the same in each thread */
	}
	return fd;
}

/* Queue an operation that does nothing. */
static void queue_nop(int fd)
{
	const struct io_uring_params *at = &uring_parameters;
	char *ring = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	struct io_uring_sqe *entries =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);

	memset(entries, 0, sizeof(*entries)); /* IORING_OP_NOP is 0 */
	((uint32_t *)(ring + at->sq_off.array))[0] = 0;
	*(_Atomic uint32_t *)(ring + at->sq_off.tail) = 1;
}

/* A child that ends with this process. */
static pid_t long_child(void)
{
	pid_t child = fork();

	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return child;
}

static int lock_file(void)
{
	static _Thread_local char name[64];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", file_of(1));
	return open(name, O_RDWR); /* an open file of its own */
}

static struct flock whole_file = {.l_type = F_WRLCK};

/* Another process holds the lock of a file. */
static int locked_by_a_child(void)
{
	int fd = file_of(1);
	int ready[2];
	char byte;

	check(pipe(ready), "pipe");
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fcntl(fd, F_SETLK, &whole_file);
		if (write(ready[1], "x", 1))
			for (;;)
				pause();
	}
	check((int)read(ready[0], &byte, 1), "read");
	return fd;
}

enum { FIFOS = 2 };
static char fifos[FIFOS][32];

/* A FIFO that nobody opens for writing. */
static const char *fifo(int index)
{
	snprintf(fifos[index], sizeof(*fifos), "/tmp/gencore-fifo-%d-%d", getpid(), index);
	if (mkfifo(fifos[index], 0600) && errno != EEXIST)
		give_up("mkfifo");
	return fifos[index];
}

static int zero;

/* ---------------------------------------------------------------------------------- the calls */

/*
 * Each makes its call once: returns what it returned, with errno set. The call is not the last thing
 * it does: who has made it is read from the code around the return address.
 */
#define CALL(name, ...)                         \
	static long name(void)                  \
	{                                       \
		long result = (__VA_ARGS__);    \
		__asm__ volatile("");           \
		return result;                  \
	}

/* One byte, or one message of one byte; or what needs more room than there is. */
static _Thread_local struct mmsghdr messages[2];

static struct mmsghdr *two_of(struct iovec *piece)
{
	for (int i = 0; i < 2; i++)
		messages[i].msg_hdr = (struct msghdr){.msg_iov = piece, .msg_iovlen = 1};
	return messages;
}

static struct msghdr *one_of(struct iovec *piece)
{
	return &two_of(piece)->msg_hdr;
}

CALL(read_pipe, read(empty_pipe(), block, 1))
CALL(read_inotify, read(inotify_init(), block, 512))
CALL(read_eventfd, read(eventfd(0, 0), block, 8))
CALL(read_timerfd, read(timerfd_create(CLOCK_MONOTONIC, 0), block, 8))
CALL(read_option, read(quiet_for_a_while(), block, 1))
CALL(readv_pipe, readv(empty_pipe(), &byte_vector, 1))
CALL(readv_option, readv(quiet_for_a_while(), &byte_vector, 1))
CALL(recv_once, recv(quiet_socket(), block, 1, 0))
CALL(recv_all, recv(quiet_socket(), block, SIZE, MSG_WAITALL))
CALL(recv_option, recv(quiet_for_a_while(), block, 1, 0))
CALL(recv_peeks, recv(quiet_socket(), block, SIZE, MSG_WAITALL | MSG_PEEK))
CALL(recvmsg_once, recvmsg(quiet_socket(), one_of(&byte_vector), 0))
CALL(recvmsg_all, recvmsg(quiet_socket(), one_of(&vector), MSG_WAITALL))
CALL(recvmsg_peeks, recvmsg(quiet_socket(), one_of(&vector), MSG_WAITALL | MSG_PEEK))
CALL(recvmsg_option, recvmsg(quiet_for_a_while(), one_of(&byte_vector), 0))
CALL(recvmmsg_first, recvmmsg(quiet_socket(), two_of(&byte_vector), 2, MSG_WAITFORONE, NULL))
CALL(recvmmsg_all, recvmmsg(quiet_socket(), two_of(&byte_vector), 2, 0, NULL))
CALL(recvmmsg_rest, recvmmsg(quiet_socket(), two_of(&byte_vector), 2, MSG_WAITFORONE, relative()))
CALL(recvmmsg_option,
     recvmmsg(quiet_for_a_while(), two_of(&byte_vector), 2, MSG_WAITFORONE, NULL))
CALL(accept4_socket, accept4(listener(), NULL, NULL, 0))
CALL(accept4_option, accept4(with_option(listener(), SO_RCVTIMEO), NULL, NULL, 0))
CALL(accept_socket, syscall(SYS_accept, listener(), NULL, NULL))
CALL(accept_option, syscall(SYS_accept, with_option(listener(), SO_RCVTIMEO), NULL, NULL))
CALL(connect_backlog, connect_waits(0))
CALL(connect_option, connect_waits(SO_SNDTIMEO))

CALL(write_pipe, write(full_pipe(), block, SIZE))
CALL(write_option, write(full_for_a_while(), block, SIZE))
CALL(writev_pipe, writev(full_pipe(), &vector, 1))
CALL(writev_option, writev(full_for_a_while(), &vector, 1))
CALL(send_socket, send(full_socket(), block, SIZE, 0))
CALL(send_option, send(full_for_a_while(), block, SIZE, 0))
CALL(sendmsg_socket, sendmsg(full_socket(), one_of(&vector), 0))
CALL(sendmsg_option, sendmsg(full_for_a_while(), one_of(&vector), 0))
CALL(sendmmsg_socket, sendmmsg(full_socket(), two_of(&vector), 2, 0))
CALL(sendmmsg_option, sendmmsg(full_for_a_while(), two_of(&vector), 2, 0))
CALL(sendfile_socket, sendfile(full_socket(), file_of(SIZE), NULL, SIZE))
CALL(sendfile_option, sendfile(full_for_a_while(), file_of(SIZE), NULL, SIZE))
CALL(splice_pipes, splice(empty_pipe(), NULL, full_pipe(), NULL, SIZE, 0))
CALL(splice_to_socket, splice(empty_pipe(), NULL, full_socket(), NULL, SIZE, 0))
CALL(tee_pipes, tee(empty_pipe(), full_pipe(), SIZE, 0))
CALL(vmsplice_pipe, vmsplice(full_pipe(), &vector, 1, 0))

static long getrandom_much(void)
{
	static char random[SIZE];
	long result = RAW(SYS_getrandom, random, SIZE, 0);

	return result > 0 && result < SIZE ? -1 : result;
}

CALL(openat_fifo, open(fifo(0), O_RDONLY))
CALL(open_fifo, syscall(SYS_open, fifo(1), O_RDONLY))
CALL(wait4_child, waitpid(long_child(), NULL, 0))
CALL(waitid_child, waitid(P_PID, (id_t)long_child(), NULL, WEXITED))
CALL(fcntl_lock, fcntl(locked_by_a_child(), F_SETLKW, &whole_file))

/* One function of the C library calls another one. */
CALL(lockf_file, lockf(locked_by_a_child(), F_LOCK, 0))

static long fcntl_open_file_lock(void)
{
	char name[64];
	int held = file_of(1);

	snprintf(name, sizeof(name), "/proc/self/fd/%d", held);
	fcntl(held, F_OFD_SETLK, &whole_file);
	return fcntl(open(name, O_RDWR), F_OFD_SETLKW, &whole_file);
}

static long flock_file(void)
{
	char name[64];
	int held = lock_file();

	snprintf(name, sizeof(name), "/proc/self/fd/%d", held);
	flock(held, LOCK_EX);
	return flock(open(name, O_RDWR), LOCK_EX);
}

CALL(mq_receive_queue, mq_receive(message_queue(), block, SIZE, NULL))
CALL(mq_receive_until,
     mq_timedreceive(message_queue(), block, SIZE, NULL, absolute(CLOCK_REALTIME)))
CALL(mq_send_queue, mq_send(full_message_queue(), "x", 1, 0))
CALL(mq_send_until, mq_timedsend(full_message_queue(), "x", 1, 0, absolute(CLOCK_REALTIME)))

CALL(futex_wait, syscall(SYS_futex, &zero, FUTEX_WAIT_PRIVATE, 0, NULL))
CALL(futex_rest, syscall(SYS_futex, &zero, FUTEX_WAIT_PRIVATE, 0, relative()))
CALL(futex_constant, syscall(SYS_futex, &zero, FUTEX_WAIT_PRIVATE, 0, &constant_span))
CALL(futex_until, syscall(SYS_futex, &zero, FUTEX_WAIT_BITSET_PRIVATE, 0, absolute(CLOCK_MONOTONIC),
		      NULL, FUTEX_BITSET_MATCH_ANY))

static struct {
	uint64_t value, address;
	uint32_t flags, reserved;
} futex_wait_row = {0, (uint64_t)(uintptr_t)0, 2, 0}; /* struct futex_waitv, FUTEX2_SIZE_U32 */

static long futex_waitv(struct timespec *until)
{
	futex_wait_row.address = (uintptr_t)&zero;
	return RAW(SYS_futex_waitv, &futex_wait_row, 1, 0, until, CLOCK_MONOTONIC);
}

CALL(futex_waitv_wait, futex_waitv(NULL))
CALL(futex_waitv_until, futex_waitv(absolute(CLOCK_MONOTONIC)))

static long sem_ever(void)
{
	sem_t semaphore;

	sem_init(&semaphore, 0, 0);
	return sem_wait(&semaphore);
}

static long sem_until(void)
{
	sem_t semaphore;

	sem_init(&semaphore, 0, 0);
	return sem_timedwait(&semaphore, absolute(CLOCK_REALTIME));
}

static long condition_until(void)
{
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

	pthread_mutex_lock(&mutex);
	errno = pthread_cond_timedwait(&condition, &mutex, absolute(CLOCK_REALTIME));
	return -1;
}

CALL(ppoll_ever, ppoll(NULL, 0, NULL, NULL))
CALL(ppoll_rest, ppoll(NULL, 0, relative(), NULL))
CALL(ppoll_constant, syscall(SYS_ppoll, NULL, 0, &constant_span, NULL, 8))
CALL(pselect_ever, pselect(0, NULL, NULL, NULL, NULL, NULL))
CALL(pselect_rest, pselect(0, NULL, NULL, NULL, relative(), NULL))
CALL(pselect_constant, syscall(SYS_pselect6, 0, NULL, NULL, NULL, &constant_span, NULL))

static long select_of_libc(void)
{
	struct timeval span = constant_timeval;

	return select(0, NULL, NULL, NULL, &span);
}

CALL(epoll_pwait_ever, syscall(SYS_epoll_pwait, epoll_set(), &event, 1, -1, NULL, 8))
CALL(epoll_pwait_rest, syscall(SYS_epoll_pwait, epoll_set(), &event, 1, TIMEOUT_MS, NULL, 8))
CALL(epoll_pwait2_ever, syscall(SYS_epoll_pwait2, epoll_set(), &event, 1, NULL, NULL, 8))
CALL(epoll_pwait2_rest, syscall(SYS_epoll_pwait2, epoll_set(), &event, 1, relative(), NULL, 8))

static long suspend(void)
{
	sigset_t none;

	sigemptyset(&none);
	return sigsuspend(&none);
}

CALL(msgrcv_queue, msgrcv(noted(msgget(IPC_PRIVATE, 0600), true), &message, 8, 0, 0))

static long msgsnd_queue(void)
{
	int queue = noted(msgget(IPC_PRIVATE, 0600), true);

	while (!msgsnd(queue, &message, sizeof(message.text), IPC_NOWAIT))
		;
	return msgsnd(queue, &message, sizeof(message.text), 0);
}

CALL(semop_down, syscall(SYS_semop, semaphore(), &down, 1))
CALL(semtimedop_ever, syscall(SYS_semtimedop, semaphore(), &down, 1, NULL))
CALL(semtimedop_rest, semtimedop(semaphore(), &down, 1, relative()))
CALL(nanosleep_rest, syscall(SYS_nanosleep, relative(), NULL))
CALL(clock_nanosleep_rest, syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, relative(), NULL))
CALL(clock_nanosleep_until, syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME,
				absolute(CLOCK_MONOTONIC), NULL))
CALL(io_getevents_ever, syscall(SYS_io_getevents, aio(), 1, 1, &io_event, NULL))
CALL(io_getevents_rest, syscall(SYS_io_getevents, aio(), 1, 1, &io_event, relative()))
CALL(io_pgetevents_ever, syscall(SYS_io_pgetevents, aio(), 1, 1, &io_event, NULL, NULL))
CALL(io_pgetevents_rest, syscall(SYS_io_pgetevents, aio(), 1, 1, &io_event, relative(), NULL))
CALL(uring_ever, syscall(SYS_io_uring_enter, uring(), 0, 1, IORING_ENTER_GETEVENTS, NULL, 0))

static long uring_rest(void)
{
	struct {
		uint64_t mask;
		uint32_t mask_size, reserved;
		uint64_t timeout;
	} argument = {.timeout = (uintptr_t)relative()};

	return RAW(SYS_io_uring_enter, uring(), 0, 1,
		   IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, sizeof(argument));
}

/* What is submitted with it must not be submitted twice. */
static long uring_submits(void)
{
	int fd = uring();

	if (fd >= 0)
		queue_nop(fd);
	return RAW(SYS_io_uring_enter, fd, 1, 2, IORING_ENTER_GETEVENTS, NULL, 0);
}

static long fallocate_memory(void)
{
	static _Thread_local int fd = -1;

	if (fd < 0)
		fd = file_of(0);
	check(ftruncate(fd, 0), "ftruncate");
	return fallocate(fd, 0, 0, 4 * SIZE);
}

static long wait_for_signals(struct timespec *span)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	return sigtimedwait(&all, NULL, span);
}

CALL(sigwait_ever, wait_for_signals(NULL))
CALL(sigwait_rest, wait_for_signals(relative()))

CALL(poll_ever, poll(NULL, 0, -1))
CALL(poll_rest, poll(NULL, 0, TIMEOUT_MS))
#ifdef SYS_poll
static long select_rest(void)
{
	struct timeval span = constant_timeval;

	return RAW(SYS_select, 0, NULL, NULL, NULL, &span);
}

CALL(select_ever, syscall(SYS_select, 0, NULL, NULL, NULL, NULL))
CALL(select_constant, syscall(SYS_select, 0, NULL, NULL, NULL, &constant_timeval))
CALL(epoll_wait_ever, epoll_wait(epoll_set(), &event, 1, -1))
CALL(epoll_wait_rest, epoll_wait(epoll_set(), &event, 1, TIMEOUT_MS))
CALL(pause_ever, pause())
#endif

/* How long a thread waits in its call, and where that is kept. */
enum span {
	FOR_EVER,
	UNTIL,	  /* a point in time */
	REST,	  /* in memory that can be written, or in a register */
	CONSTANT, /* in memory that is read-only */
	OPTION,	  /* SO_RCVTIMEO or SO_SNDTIMEO */
};

/* How a call ends here, if nobody interrupts it. */
enum end {
	NEVER,
	IN_TIME,
	DONE,
};

static struct call {
	const char *row; /* its name in the table */
	long (*make)(void);
	enum span span;
	enum end end;
	bool in_part; /* interrupted, it may return with a part */
	const char *variant;
	_Atomic pid_t tid;
	_Atomic int rounds;
	int interrupted;
	int failed; /* errno of a return that should not have been */
	int seen;   /* captures that found it there */
	int wrong;  /* of them, those in which something else became of it than the row says */
	double shortest, sum; /* of its waits, in ms */
} calls[] = {
#define EVER(name, function) {.row = #name, .make = function, .variant = #function}
#define TIMED(name, function, kind) \
	{.row = #name, .make = function, .span = kind, .end = IN_TIME, .variant = #function}
#define PART(name, function) \
	{.row = #name, .make = function, .in_part = true, .variant = #function}
#define PART_OPTION(name, function)                                                           \
	{.row = #name, .make = function, .span = OPTION, .end = IN_TIME, .in_part = true, \
	 .variant = #function}
	EVER(read, read_pipe),
	EVER(read, read_inotify),
	EVER(read, read_eventfd),
	EVER(read, read_timerfd),
	TIMED(read, read_option, OPTION),
	EVER(readv, readv_pipe),
	TIMED(readv, readv_option, OPTION),
	EVER(recvfrom, recv_once),
	EVER(recvfrom, recv_peeks),
	PART(recvfrom, recv_all),
	TIMED(recvfrom, recv_option, OPTION),
	EVER(recvmsg, recvmsg_once),
	EVER(recvmsg, recvmsg_peeks),
	PART(recvmsg, recvmsg_all),
	TIMED(recvmsg, recvmsg_option, OPTION),
	EVER(recvmmsg, recvmmsg_first),
	PART(recvmmsg, recvmmsg_all),
	/* the kernel looks at the time when a message has come */
	{.row = "recvmmsg", .make = recvmmsg_rest, .span = REST, .variant = "recvmmsg_rest"},
	TIMED(recvmmsg, recvmmsg_option, OPTION),
	EVER(accept4, accept4_socket),
	TIMED(accept4, accept4_option, OPTION),
	EVER(accept, accept_socket),
	TIMED(accept, accept_option, OPTION),
	EVER(connect, connect_backlog),
	TIMED(connect, connect_option, OPTION),
	PART(write, write_pipe),
	PART_OPTION(write, write_option),
	PART(writev, writev_pipe),
	PART_OPTION(writev, writev_option),
	PART(sendto, send_socket),
	PART_OPTION(sendto, send_option),
	PART(sendmsg, sendmsg_socket),
	PART_OPTION(sendmsg, sendmsg_option),
	PART(sendmmsg, sendmmsg_socket),
	PART_OPTION(sendmmsg, sendmmsg_option),
	PART(sendfile, sendfile_socket),
	PART_OPTION(sendfile, sendfile_option),
	EVER(splice, splice_pipes),
	PART(splice, splice_to_socket),
	EVER(tee, tee_pipes),
	EVER(vmsplice, vmsplice_pipe),
	{.row = "getrandom", .make = getrandom_much, .end = DONE, .in_part = true,
	 .variant = "getrandom_much"},
	EVER(openat, openat_fifo),
	EVER(wait4, wait4_child),
	EVER(waitid, waitid_child),
	EVER(flock, flock_file),
	EVER(fcntl, fcntl_lock),
	EVER(fcntl, lockf_file),
	EVER(fcntl, fcntl_open_file_lock),
	EVER(mq_timedreceive, mq_receive_queue),
	TIMED(mq_timedreceive, mq_receive_until, UNTIL),
	EVER(mq_timedsend, mq_send_queue),
	TIMED(mq_timedsend, mq_send_until, UNTIL),
	EVER(futex, futex_wait),
	EVER(futex, sem_ever),
	TIMED(futex, futex_rest, REST),
	TIMED(futex, futex_constant, CONSTANT),
	TIMED(futex, futex_until, UNTIL),
	TIMED(futex, sem_until, UNTIL),
	TIMED(futex, condition_until, UNTIL),
	EVER(futex_waitv, futex_waitv_wait),
	TIMED(futex_waitv, futex_waitv_until, UNTIL),
	EVER(ppoll, ppoll_ever),
	TIMED(ppoll, ppoll_rest, REST),
	TIMED(ppoll, ppoll_constant, CONSTANT),
	EVER(pselect6, pselect_ever),
	TIMED(pselect6, pselect_rest, REST),
	TIMED(pselect6, pselect_constant, CONSTANT),
	TIMED(pselect6, select_of_libc, REST),
	EVER(epoll_pwait, epoll_pwait_ever),
	TIMED(epoll_pwait, epoll_pwait_rest, REST),
	EVER(epoll_pwait2, epoll_pwait2_ever),
	TIMED(epoll_pwait2, epoll_pwait2_rest, REST),
	EVER(rt_sigsuspend, suspend),
	EVER(msgrcv, msgrcv_queue),
	EVER(msgsnd, msgsnd_queue),
	EVER(semop, semop_down),
	EVER(semtimedop, semtimedop_ever),
	TIMED(semtimedop, semtimedop_rest, REST),
	TIMED(nanosleep, nanosleep_rest, REST),
	TIMED(clock_nanosleep, clock_nanosleep_rest, REST),
	TIMED(clock_nanosleep, clock_nanosleep_until, UNTIL),
	EVER(io_getevents, io_getevents_ever),
	TIMED(io_getevents, io_getevents_rest, REST),
	EVER(io_pgetevents, io_pgetevents_ever),
	TIMED(io_pgetevents, io_pgetevents_rest, REST),
	EVER(io_uring_enter, uring_ever),
	TIMED(io_uring_enter, uring_rest, REST),
	PART(io_uring_enter, uring_submits),
	{.row = "fallocate", .make = fallocate_memory, .end = DONE, .variant = "fallocate_memory"},
	EVER(rt_sigtimedwait, sigwait_ever),
	TIMED(rt_sigtimedwait, sigwait_rest, REST),
#ifdef SYS_poll
	EVER(open, open_fifo),
	EVER(poll, poll_ever),
	TIMED(poll, poll_rest, REST),
	EVER(select, select_ever),
	TIMED(select, select_rest, REST),
	TIMED(select, select_constant, CONSTANT),
	EVER(epoll_wait, epoll_wait_ever),
	TIMED(epoll_wait, epoll_wait_rest, REST),
	EVER(pause, pause_ever),
#else
	EVER(ppoll, poll_ever),
	TIMED(ppoll, poll_rest, REST),
#endif
};

enum { CALLS = sizeof(calls) / sizeof(*calls) };

static const struct blocking_call *row_of(const struct call *call)
{
	for (size_t i = 0; i < blocking_call_count; i++)
		if (!strcmp(blocking_calls[i].name, call->row))
			return &blocking_calls[i];
	return NULL; /* rt_sigtimedwait(2) takes signals, ours too: none is sent to it */
}

/* System V objects and FIFOs outlive the process. */
static void remove_what_stays(void)
{
	remove_system_v();
	for (int i = 0; i < FIFOS; i++)
		if (fifos[i][0])
			unlink(fifos[i]);
}

#endif
