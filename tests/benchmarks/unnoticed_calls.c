// SPDX-License-Identifier: Apache-2.0
/*
 * A thread in each call of blocking_calls[], without and with a timeout, while captures are made.
 *
 *   unnoticed_calls CAPTURES
 *
 * A call without a timeout never ends, so each end of it is one too many; transfers are made again
 * and again with another thread at the other end, so each that is short or garbled is. A call with
 * a timeout must take as long as it says: not less, and not longer by more than the longest pause
 * and LATE_MS. Prints one line of JSON for each thread and one for all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../native/capture.h"
#include "calls.h"
#include "clock.h"
#include "threads.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

enum {
	TIMEOUT_MS = 300,
	EARLY_MS = 12, /* the timeouts of sockets are counted in ticks of the kernel */
	LATE_MS = 50,  /* what a busy machine adds without us */
	PAUSE_US = 300,
	BETWEEN_US = 2000,
	BLOCK = 256 * 1024, /* one transfer, more than a pipe or socket holds */
	PIECE = 16 * 1024,  /* what the other end moves at once */
	MESSAGES_AT_ONCE = 32,
};

static _Thread_local long timeout_ms; /* of this thread's call; 0 for none */

static struct timespec span_of(long ms)
{
	return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
}

static struct timespec *span(void)
{
	static _Thread_local struct timespec result;

	result = span_of(timeout_ms);
	return timeout_ms ? &result : NULL;
}

static struct timespec *until(clockid_t clock)
{
	static _Thread_local struct timespec result;

	clock_gettime(clock, &result);
	result.tv_nsec += timeout_ms * 1000000;
	result.tv_sec += result.tv_nsec / 1000000000;
	result.tv_nsec %= 1000000000;
	return timeout_ms ? &result : NULL;
}

static int milliseconds_or_ever(void)
{
	return timeout_ms ? (int)timeout_ms : -1;
}

/* Two connected sockets of this thread's, with its timeout. The first is full if *filled*. */
static int *sockets(int type, bool filled)
{
	static _Thread_local int fds[2];
	struct timeval limit = {.tv_usec = timeout_ms * 1000};
	static const char block[4096];

	if (fds[1])
		return fds;
	if (socketpair(AF_UNIX, type, 0, fds))
		return NULL;
	setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	while (filled && send(fds[0], block, sizeof(block), MSG_DONTWAIT) > 0)
		continue;
	return fds;
}

static int *pipes(bool filled)
{
	static _Thread_local int fds[2];
	static const char block[4096];

	if (fds[1])
		return fds;
	if (pipe(fds))
		return NULL;
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	while (filled && write(fds[1], block, sizeof(block)) > 0)
		continue;
	fcntl(fds[1], F_SETFL, 0);
	return fds;
}

static char byte;
static struct iovec one_byte = {&byte, 1};

/* ------------------------------------------------------------ calls that move nothing in part */

static long in_read(void) { return read(sockets(SOCK_STREAM, false)[0], &byte, 1); }
static long in_readv(void) { return readv(sockets(SOCK_STREAM, false)[0], &one_byte, 1); }
static long in_recvfrom(void) { return recv(sockets(SOCK_DGRAM, false)[0], &byte, 1, 0); }

static long in_recvmsg(void)
{
	struct msghdr message = {.msg_iov = &one_byte, .msg_iovlen = 1};

	return recvmsg(sockets(SOCK_DGRAM, false)[0], &message, 0);
}

static long in_recvmmsg(void)
{
	struct mmsghdr message = {.msg_hdr = {.msg_iov = &one_byte, .msg_iovlen = 1}};

	return recvmmsg(sockets(SOCK_DGRAM, false)[0], &message, 1, 0, NULL);
}

/* A socket that listens under an abstract name of this thread's; its queue is full if *filled*. */
static int listener(bool filled, struct sockaddr_un *address)
{
	static _Thread_local int fd;
	struct timeval limit = {.tv_usec = timeout_ms * 1000};

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address->sun_path + 1, 40, "unnoticed-%d-%ld", getpid(), syscall(SYS_gettid));
	if (fd)
		return fd;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (bind(fd, (void *)address, sizeof(*address)) || listen(fd, 0))
		abort();
	if (filled && connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)address, sizeof(*address)))
		abort();
	return fd;
}

static long in_accept4(void)
{
	struct sockaddr_un address;

	return accept4(listener(false, &address), NULL, NULL, 0);
}

static long in_accept(void)
{
	struct sockaddr_un address;

	return accept(listener(false, &address), NULL, NULL);
}

static long in_connect(void)
{
	static _Thread_local int fd;
	struct sockaddr_un address;
	struct timeval limit = {.tv_usec = timeout_ms * 1000};

	listener(true, &address);
	fd = fd ? fd : socket(AF_UNIX, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return connect(fd, (void *)&address, sizeof(address));
}

static long in_splice(void)
{
	static _Thread_local int out[2];

	if (!out[1] && pipe(out))
		return 0;
	return splice(pipes(false)[0], NULL, out[1], NULL, 1, 0);
}

static long in_tee(void)
{
	static _Thread_local int out[2];

	if (!out[1] && pipe(out))
		return 0;
	return tee(pipes(false)[0], out[1], 1, 0);
}

static long in_vmsplice(void) { return vmsplice(pipes(true)[1], &one_byte, 1, 0); }

static const char *fifo(void)
{
	static _Thread_local char name[64];

	if (!*name) {
		snprintf(name, sizeof(name), "fifo-%ld", syscall(SYS_gettid));
		if (mkfifo(name, 0600))
			abort();
	}
	return name;
}

static long in_openat(void) { return openat(AT_FDCWD, fifo(), O_RDONLY); }

static pid_t child(void)
{
	static _Thread_local pid_t pid;

	if (!pid && !(pid = fork())) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

static long in_wait4(void) { return waitpid(child(), NULL, 0); }

static long in_waitid(void)
{
	siginfo_t info;

	return waitid(P_PID, (id_t)child(), &info, WEXITED);
}

static int temporary(void)
{
	char name[] = "file-XXXXXX";
	static _Thread_local int fd;

	if (!fd)
		fd = mkstemp(name);
	return fd;
}

/* The same file opened once more. */
static int opened_again(int fd)
{
	static _Thread_local int again;
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = again ? again : open(path, O_RDWR);
	return again;
}

static long in_flock(void)
{
	flock(temporary(), LOCK_EX);
	return flock(opened_again(temporary()), LOCK_EX);
}

static long in_fcntl(void)
{
	struct flock lock = {.l_type = F_WRLCK};
	struct flock wait = {.l_type = F_WRLCK};

	fcntl(temporary(), F_OFD_SETLK, &lock);
	return fcntl(opened_again(temporary()), F_OFD_SETLKW, &wait);
}

static mqd_t queue(void)
{
	static _Thread_local mqd_t result;
	struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 8};
	char name[40];

	if (result)
		return result;
	snprintf(name, sizeof(name), "/unnoticed-%ld", syscall(SYS_gettid));
	result = mq_open(name, O_RDWR | O_CREAT, 0600, &attributes);
	mq_unlink(name);
	return result;
}

static long in_mq_timedreceive(void)
{
	char buffer[8];

	return syscall(SYS_mq_timedreceive, queue(), buffer, 8L, NULL, until(CLOCK_REALTIME));
}

static long in_mq_timedsend(void)
{
	static _Thread_local bool full;

	if (!full)
		mq_send(queue(), "", 0, 0);
	full = true;
	return syscall(SYS_mq_timedsend, queue(), "", 0L, 0L, until(CLOCK_REALTIME));
}

static long in_futex(void)
{
	static int word;
	long result = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0L, span());

	__asm__ volatile(""); /* no tail call: the number is read from the code that calls */
	return result;
}

static long in_futex_waitv(void)
{
	static int word;
	struct {
		uint64_t value, address;
		uint32_t flags, reserved;
	} waiter = {0, (uintptr_t)&word, 2 /* 32 bits */, 0};
	long result = syscall(SYS_futex_waitv, &waiter, 1L, 0L, until(CLOCK_MONOTONIC),
			      (long)CLOCK_MONOTONIC);

	__asm__ volatile("");
	return result;
}

static long in_ppoll(void) { return ppoll(NULL, 0, span(), NULL); }
static long in_pselect6(void) { return pselect(0, NULL, NULL, NULL, span(), NULL); }

static int empty_epoll(void)
{
	static _Thread_local int fd;

	fd = fd ? fd : epoll_create1(0);
	return fd;
}

static long in_epoll_pwait(void)
{
	struct epoll_event event;
	sigset_t none;

	sigemptyset(&none);
	return epoll_pwait(empty_epoll(), &event, 1, milliseconds_or_ever(), &none);
}

static long in_epoll_pwait2(void)
{
	struct epoll_event event;
	long result = syscall(SYS_epoll_pwait2, empty_epoll(), &event, 1L, span(), NULL, 0L);

	__asm__ volatile("");
	return result;
}

static long in_rt_sigsuspend(void)
{
	sigset_t none;

	sigemptyset(&none);
	return sigsuspend(&none);
}

static int messages(void)
{
	static _Thread_local int id;

	id = id ? id : msgget(IPC_PRIVATE, 0600);
	return id;
}

static struct {
	long type;
	char text[4096];
} message = {1, {0}};

static long in_msgrcv(void)
{
	struct {
		long type;
		char text[8];
	} received;

	return msgrcv(messages(), &received, 8, 0, 0);
}

static long in_msgsnd(void)
{
	while (!msgsnd(messages(), &message, sizeof(message.text), IPC_NOWAIT))
		continue;
	return msgsnd(messages(), &message, sizeof(message.text), 0);
}

static int semaphores(void)
{
	static _Thread_local int id;

	id = id ? id : semget(IPC_PRIVATE, 1, 0600);
	return id;
}

static struct sembuf less = {.sem_op = -1};

static long in_semop(void)
{
#ifdef SYS_semop
	long result = syscall(SYS_semop, semaphores(), &less, 1L);

	__asm__ volatile("");
	return result;
#endif
}

static long in_semtimedop(void) { return semtimedop(semaphores(), &less, 1, span()); }

static long in_nanosleep(void)
{
	struct timespec time = span_of(timeout_ms);
	long result = syscall(SYS_nanosleep, &time, NULL);

	__asm__ volatile("");
	return result;
}

static long in_clock_nanosleep(void)
{
	struct timespec time = span_of(timeout_ms);

	errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
	return errno ? -1 : 0;
}

static aio_context_t events(void)
{
	static _Thread_local aio_context_t context;

	if (!context)
		syscall(SYS_io_setup, 1L, &context);
	return context;
}

static long in_io_getevents(void)
{
	struct io_event event;
	long result = syscall(SYS_io_getevents, events(), 1L, 1L, &event, span());

	__asm__ volatile("");
	return result;
}

static long in_io_pgetevents(void)
{
	struct io_event event;
	long result = syscall(SYS_io_pgetevents, events(), 1L, 1L, &event, span(), NULL);

	__asm__ volatile("");
	return result;
}

static long in_io_uring_enter(void)
{
	static _Thread_local int ring;
	struct io_uring_params parameters = {0};
	struct timespec time = span_of(timeout_ms);
	struct io_uring_getevents_arg argument = {.ts = timeout_ms ? (uintptr_t)&time : 0};
	long result;

	if (!ring)
		ring = (int)syscall(SYS_io_uring_setup, 1L, &parameters);
	result = syscall(SYS_io_uring_enter, ring, 0L, 1L,
			 (long)(IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG), &argument,
			 sizeof(argument));
	__asm__ volatile("");
	return result;
}

#ifdef SYS_poll
static long in_open(void)
{
	long result = syscall(SYS_open, fifo(), O_RDONLY);

	__asm__ volatile("");
	return result;
}

static long in_poll(void) { return poll(NULL, 0, milliseconds_or_ever()); }

static long in_select(void)
{
	struct timeval time = {.tv_usec = timeout_ms * 1000};
	long result = syscall(SYS_select, 0L, NULL, NULL, NULL, timeout_ms ? &time : NULL);

	__asm__ volatile("");
	return result;
}

static long in_epoll_wait(void)
{
	struct epoll_event event;

	return epoll_wait(empty_epoll(), &event, 1, milliseconds_or_ever());
}

static long in_pause(void) { return pause(); }
#endif

/* With a timeout, the calls that transfer begin with a full buffer, and move nothing. */

static long late_write(void) { return write(sockets(SOCK_STREAM, true)[0], &byte, 1); }
static long late_writev(void) { return writev(sockets(SOCK_STREAM, true)[0], &one_byte, 1); }
static long late_sendto(void) { return send(sockets(SOCK_STREAM, true)[0], &byte, 1, 0); }

static long late_sendmsg(void)
{
	struct msghdr header = {.msg_iov = &one_byte, .msg_iovlen = 1};

	return sendmsg(sockets(SOCK_STREAM, true)[0], &header, 0);
}

static long late_sendmmsg(void)
{
	struct mmsghdr header = {.msg_hdr = {.msg_iov = &one_byte, .msg_iovlen = 1}};

	return sendmmsg(sockets(SOCK_STREAM, true)[0], &header, 1, 0);
}

static int pattern_file; /* BLOCK bytes of the pattern */

static long late_sendfile(void)
{
	off_t begin = 0;

	return sendfile(sockets(SOCK_STREAM, true)[0], pattern_file, &begin, 1);
}

/* --------------------------------------------------------------- calls that may move in part */

static char pattern[BLOCK];

/* Both ends of one transfer; the other thread moves the same bytes in pieces, for ever. */
static _Thread_local int near_end;

static bool is_pattern(const char *bytes)
{
	return !memcmp(bytes, pattern, BLOCK);
}

static void rest_ns(long count)
{
	struct timespec time = {.tv_nsec = count};

	syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &time, NULL);
}

/* Set once bytes have come in an order in which they were not sent. */
static _Atomic int garbled;

static _Noreturn void *take_pieces(void *end)
{
	int fd = (int)(intptr_t)end;
	char piece[PIECE];
	size_t done = 0;
	ssize_t part;

	for (;;) {
		size_t left = BLOCK - done;

		part = read(fd, piece, left < PIECE ? left : PIECE);
		if (part <= 0 || memcmp(piece, pattern + done, (size_t)part))
			atomic_fetch_add(&garbled, 1);
		done = (done + (size_t)(part > 0 ? part : 0)) % BLOCK;
		rest_ns(200000);
	}
}

static _Noreturn void *give_pieces(void *end)
{
	int fd = (int)(intptr_t)end;
	size_t done = 0;

	for (;;) {
		ssize_t part = send(fd, pattern + done, PIECE, MSG_DONTWAIT);

		done = (done + (size_t)(part > 0 ? part : 0)) % BLOCK;
		rest_ns(200000);
	}
}

static _Noreturn void *take_messages(void *end)
{
	char text[8];

	for (;;) {
		if (recv((int)(intptr_t)end, text, sizeof(text), 0) <= 0)
			atomic_fetch_add(&garbled, 1);
		rest_ns(100000);
	}
}

static _Noreturn void *give_messages(void *end)
{
	for (;;) {
		send((int)(intptr_t)end, "message", 8, MSG_DONTWAIT);
		rest_ns(100000);
	}
}

/* This thread's end; the other one is *other*'s. */
static int end_of(int type, void *(*other)(void *))
{
	pthread_t thread;
	int fds[2];

	if (near_end)
		return near_end;
	if (socketpair(AF_UNIX, type, 0, fds))
		abort();
	near_end = fds[0];
	pthread_create(&thread, NULL, other, (void *)(intptr_t)fds[1]);
	return near_end;
}

static struct iovec *halves(char *bytes)
{
	static _Thread_local struct iovec pieces[2];

	pieces[0] = (struct iovec){bytes, BLOCK / 4};
	pieces[1] = (struct iovec){bytes + BLOCK / 4, BLOCK - BLOCK / 4};
	return pieces;
}

/* Each returns 0 if all was moved, 1 if not. */

static long all_write(void)
{
	static _Thread_local int fds[2];
	pthread_t thread;

	if (!fds[1]) {
		if (pipe(fds))
			abort();
		pthread_create(&thread, NULL, take_pieces, (void *)(intptr_t)fds[0]);
	}
	return write(fds[1], pattern, BLOCK) != BLOCK;
}

static long all_writev(void)
{
	return writev(end_of(SOCK_STREAM, take_pieces), halves(pattern), 2) != BLOCK;
}

static long all_sendto(void)
{
	return send(end_of(SOCK_STREAM, take_pieces), pattern, BLOCK, 0) != BLOCK;
}

static long all_sendmsg(void)
{
	struct msghdr header = {.msg_iov = halves(pattern), .msg_iovlen = 2};

	return sendmsg(end_of(SOCK_STREAM, take_pieces), &header, 0) != BLOCK;
}

static long all_sendfile(void)
{
	off_t begin = 0;

	return sendfile(end_of(SOCK_STREAM, take_pieces), pattern_file, &begin, BLOCK) != BLOCK;
}

static long all_recvfrom(void)
{
	static _Thread_local char bytes[BLOCK];
	long got = recv(end_of(SOCK_STREAM, give_pieces), bytes, BLOCK, MSG_WAITALL);

	return got != BLOCK || !is_pattern(bytes);
}

static long all_recvmsg(void)
{
	static _Thread_local char bytes[BLOCK];
	struct msghdr header = {.msg_iov = halves(bytes), .msg_iovlen = 2};
	long got = recvmsg(end_of(SOCK_STREAM, give_pieces), &header, MSG_WAITALL);

	return got != BLOCK || !is_pattern(bytes);
}

static struct mmsghdr *many_messages(void)
{
	static _Thread_local struct mmsghdr headers[MESSAGES_AT_ONCE];
	static _Thread_local char text[MESSAGES_AT_ONCE][8];
	static _Thread_local struct iovec pieces[MESSAGES_AT_ONCE];

	for (int i = 0; i < MESSAGES_AT_ONCE; i++) {
		pieces[i] = (struct iovec){text[i], 8};
		headers[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &pieces[i], .msg_iovlen = 1}};
	}
	return headers;
}

static long all_sendmmsg(void)
{
	int fd = end_of(SOCK_DGRAM, take_messages);

	return sendmmsg(fd, many_messages(), MESSAGES_AT_ONCE, 0) != MESSAGES_AT_ONCE;
}

static long all_recvmmsg(void)
{
	int fd = end_of(SOCK_DGRAM, give_messages);

	return recvmmsg(fd, many_messages(), MESSAGES_AT_ONCE, 0, NULL) != MESSAGES_AT_ONCE;
}

static long all_getrandom(void)
{
	static char bytes[4 << 20];
	long got = getrandom(bytes, sizeof(bytes), 0);

	rest_ns(20000000);
	return got != sizeof(bytes);
}

static long all_fallocate(void)
{
	static int fd;
	long result;

	fd = fd ? fd : memfd_create("unnoticed", 0);
	result = fallocate(fd, 0, 0, 16 << 20);
	result |= ftruncate(fd, 0);
	rest_ns(20000000);
	return result;
}

/* ---------------------------------------------------------------------------------- the rows */

enum kind {
	ENDLESS,
	TIMED,
	WHOLE,
	KINDS,
};

static const char *const kind_names[KINDS] = {"endless", "timed", "whole"};

static struct row {
	const char *name;
	long (*make)(void);
	enum kind kind;
	long number;
	_Atomic int rounds;
	_Atomic int noticed;
	int error;	/* of the first that was noticed */
	_Atomic int tid;
	int tried, stopped, read, missing;
	double worst;	/* timed: the latest, in milliseconds */
} rows[] = {
#define ROW(what, prefix, call) {.name = #call, .make = prefix##_##call, .kind = what, \
				 .number = SYS_##call}
#define BOTH(call) ROW(ENDLESS, in, call), ROW(TIMED, in, call)
	BOTH(read), BOTH(readv), BOTH(recvfrom), ROW(WHOLE, all, recvfrom), BOTH(recvmsg),
	ROW(WHOLE, all, recvmsg), BOTH(recvmmsg), ROW(WHOLE, all, recvmmsg), BOTH(accept4),
	BOTH(accept), BOTH(connect), ROW(WHOLE, all, write), ROW(TIMED, late, write),
	ROW(WHOLE, all, writev), ROW(TIMED, late, writev), ROW(WHOLE, all, sendto),
	ROW(TIMED, late, sendto), ROW(WHOLE, all, sendmsg), ROW(TIMED, late, sendmsg),
	ROW(WHOLE, all, sendmmsg), ROW(TIMED, late, sendmmsg), ROW(WHOLE, all, sendfile),
	ROW(TIMED, late, sendfile), ROW(ENDLESS, in, splice), ROW(ENDLESS, in, tee),
	ROW(ENDLESS, in, vmsplice), ROW(WHOLE, all, getrandom), ROW(ENDLESS, in, openat),
	ROW(ENDLESS, in, wait4), ROW(ENDLESS, in, waitid), ROW(ENDLESS, in, flock),
	ROW(ENDLESS, in, fcntl), BOTH(mq_timedreceive), BOTH(mq_timedsend), BOTH(futex),
	BOTH(futex_waitv), BOTH(ppoll), BOTH(pselect6), BOTH(epoll_pwait), BOTH(epoll_pwait2),
	ROW(ENDLESS, in, rt_sigsuspend), ROW(ENDLESS, in, msgrcv), ROW(ENDLESS, in, msgsnd),
	ROW(ENDLESS, in, semop), BOTH(semtimedop), ROW(TIMED, in, nanosleep),
	ROW(TIMED, in, clock_nanosleep), BOTH(io_getevents), BOTH(io_pgetevents),
	BOTH(io_uring_enter), ROW(WHOLE, all, fallocate),
#ifdef SYS_poll
	ROW(ENDLESS, in, open), BOTH(poll), BOTH(select), BOTH(epoll_wait),
	ROW(ENDLESS, in, pause),
#endif
};

enum { ROWS = sizeof(rows) / sizeof(*rows) };

static _Atomic uint64_t longest_pause_ns;

static void notice(struct row *row, int error)
{
	if (atomic_fetch_add(&row->noticed, 1) == 0)
		row->error = error;
}

static void judge_timed(struct row *row, long result, int error, double took_ms)
{
	double late = took_ms - TIMEOUT_MS;
	double allowed = (double)atomic_load(&longest_pause_ns) / 1e6 + LATE_MS;

	row->worst = late > row->worst ? late : row->worst;
	if (result < 0 && error != ETIMEDOUT && error != EAGAIN && error != ETIME)
		notice(row, error);
	else if (late < -EARLY_MS || late > allowed)
		notice(row, 0);
}

static bool is_impossible(int error)
{
	return error == ENOSYS || error == EPERM || error == EBADF || error == EINVAL;
}

static _Noreturn void *run(void *argument)
{
	struct row *row = argument;

	timeout_ms = row->kind == TIMED ? TIMEOUT_MS : 0;
	atomic_store(&row->tid, (int)syscall(SYS_gettid));
	for (;;) {
		uint64_t begin = now_ns();
		long result = row->make();
		int error = errno;

		atomic_fetch_add(&row->rounds, 1);
		if (result < 0 && is_impossible(error))
			break;
		if (row->kind == TIMED)
			judge_timed(row, result, error, (double)(now_ns() - begin) / 1e6);
		else if (row->kind == ENDLESS || result)
			notice(row, error);
	}
	row->error = errno;
	atomic_store(&row->tid, -1);
	for (;;)
		pause();
}

static void stand_still(const struct thread_table *table)
{
	struct timespec time = {.tv_nsec = PAUSE_US * 1000};

	(void)table;
	syscall(SYS_nanosleep, &time, NULL);
}

static void count_thread(const struct thread *thread)
{
	for (int i = 0; i < ROWS; i++) {
		struct row *row = &rows[i];

		if (atomic_load(&row->tid) != thread->tid)
			continue;
		row->tried += thread->blocked && thread->call.number == row->number;
		row->stopped += thread_state(thread) == THREAD_STOPPED;
		row->read += thread_state(thread) == THREAD_READ;
		row->missing += thread_state(thread) == THREAD_MISSING;
	}
}

static void capture_once(void)
{
	struct thread_table table;
	uint64_t begin = now_ns();

	if (capture_threads(THREADS_AUTO, &table, stand_still))
		abort();
	if (now_ns() - begin > atomic_load(&longest_pause_ns))
		atomic_store(&longest_pause_ns, now_ns() - begin);
	for (uint32_t i = 1; i < table.count; i++)
		count_thread(&table.threads[i]);
}

static void print_row(const struct row *row)
{
	printf("{\"call\": \"%s\", \"kind\": \"%s\", \"possible\": %s, \"rounds\": %d, "
	       "\"tried\": %d, \"noticed\": %d, \"error\": %d, \"stopped\": %d, \"read\": %d, "
	       "\"missing\": %d, \"worst_ms\": %.1f}\n",
	       row->name, kind_names[row->kind], row->tid < 0 ? "false" : "true", row->rounds,
	       row->tried, row->noticed, row->error, row->stopped, row->read, row->missing,
	       row->worst);
}

int main(int argc, char **argv)
{
	int captures = argc > 1 ? atoi(argv[1]) : 100;
	pthread_t thread;

	for (int i = 0; i < BLOCK; i++)
		pattern[i] = (char)(i * 7 + i / 251);
	pattern_file = memfd_create("pattern", 0);
	if (pwrite(pattern_file, pattern, BLOCK, 0) != BLOCK)
		abort();
	for (int i = 0; i < ROWS; i++)
		pthread_create(&thread, NULL, run, &rows[i]);
	rest_ns(500000000);
	for (int i = 0; i < captures; i++) {
		capture_once();
		rest_ns(BETWEEN_US * 1000);
	}
	for (int i = 0; i < ROWS; i++)
		print_row(&rows[i]);
	printf("{\"captures\": %d, \"garbled\": %d, \"longest_pause_ms\": %.1f}\n", captures,
	       atomic_load(&garbled), (double)longest_pause_ns / 1e6);
	fflush(stdout);
	_exit(0);
}
