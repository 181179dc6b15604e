// SPDX-License-Identifier: Apache-2.0
/*
 * A thread in each blocking system call of signal(7), and thousands of captures meanwhile.
 *
 *   blocking_calls CAPTURES MODE
 *
 * Prints one line of JSON for each call: how often it returned EINTR, and how much later than
 * asked it timed out (median and worst, in milliseconds). A last line counts the captures, and the
 * signals of the application whose EINTR was lost.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "capture.h"
#include "proc_text.h"
#include "threads.h"

enum { TIMEOUT_MS = 700, MAX_ROUNDS = 4096 };

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static struct timespec relative(void)
{
	return (struct timespec){.tv_nsec = TIMEOUT_MS * 1000000L};
}

static struct timespec absolute(clockid_t clock)
{
	struct timespec at;

	clock_gettime(clock, &at);
	at.tv_nsec += TIMEOUT_MS * 1000000L;
	at.tv_sec += at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	return at;
}

static int empty_pipe(void)
{
	int fds[2];

	return pipe(fds) ? -1 : fds[0];
}

static int quiet_socket(void)
{
	int fds[2];

	return socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) ? -1 : fds[0];
}

/* Each returns what the call returned, with errno set. */

static long in_read(void)
{
	char byte;
	return read(empty_pipe(), &byte, 1);
}

static long in_write(void)
{
	int fds[2];
	char block[4096] = {0};

	if (pipe(fds))
		return -1;
	for (;;)
		if (write(fds[1], block, sizeof(block)) < 0)
			return -1;
}

static long in_recv(void)
{
	char byte;
	return recv(quiet_socket(), &byte, 1, 0);
}

static long in_accept(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (void *)&address, sizeof(address)) || listen(fd, 1))
		return -1;
	return accept(fd, NULL, NULL);
}

static long in_poll(void)
{
	return poll(NULL, 0, -1);
}

static long in_ppoll(void)
{
	return ppoll(NULL, 0, NULL, NULL);
}

static long in_select(void)
{
	return select(0, NULL, NULL, NULL, NULL);
}

static long in_epoll_wait(void)
{
	struct epoll_event event;
	return epoll_wait(epoll_create1(0), &event, 1, -1);
}

static long in_pause(void)
{
	return pause();
}

static long in_sigsuspend(void)
{
	sigset_t none;

	sigemptyset(&none);
	return sigsuspend(&none);
}

static long in_sigwaitinfo(void)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	return sigwaitinfo(&all, NULL);
}

static long in_msgrcv(void)
{
	struct {
		long type;
		char text[8];
	} message;
	return msgrcv(msgget(IPC_PRIVATE, 0600), &message, 8, 0, 0);
}

static long in_semop(void)
{
	struct sembuf wait = {.sem_op = -1};
	return semop(semget(IPC_PRIVATE, 1, 0600), &wait, 1);
}

static long in_mq_receive(void)
{
	char name[64], buffer[8192];
	mqd_t queue;

	snprintf(name, sizeof(name), "/gencore-test-%d", getpid());
	queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, NULL);
	mq_unlink(name);
	return queue < 0 ? 0 : mq_receive(queue, buffer, sizeof(buffer), NULL);
}

static long in_flock(void)
{
	char name[] = "/tmp/gencore-flock-XXXXXX";
	int holder = mkstemp(name);
	int waiter = open(name, O_RDWR);

	unlink(name);
	flock(holder, LOCK_EX);
	return flock(waiter, LOCK_EX);
}

static long in_futex(void)
{
	static int word;
	return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL);
}

static long in_waitpid(void)
{
	pid_t child = fork();

	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	return waitpid(child, NULL, 0);
}

static long in_inotify(void)
{
	char buffer[512];
	return read(inotify_init(), buffer, sizeof(buffer));
}

static long in_eventfd(void)
{
	uint64_t value;
	return read(eventfd(0, 0), &value, sizeof(value));
}

static long in_timerfd(void)
{
	uint64_t value;
	return read(timerfd_create(CLOCK_MONOTONIC, 0), &value, sizeof(value));
}

static char fifo_name[] = "/tmp/gencore-fifo-XXXXXX";

static long in_open_fifo(void)
{
	close(mkstemp(fifo_name));
	unlink(fifo_name);
	if (mkfifo(fifo_name, 0600))
		return 0;
	return open(fifo_name, O_RDONLY); /* nobody ever opens its other end */
}

/* From here on with a timeout: 0, or -1 with one of ETIMEDOUT, EAGAIN, is as it should be. */

static long until_clock_nanosleep(void)
{
	struct timespec at = absolute(CLOCK_MONOTONIC);

	errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	return errno ? -1 : 0;
}

static long until_sem_timedwait(void)
{
	struct timespec at = absolute(CLOCK_REALTIME);
	sem_t semaphore;

	sem_init(&semaphore, 0, 0);
	return sem_timedwait(&semaphore, &at);
}

static long until_cond_timedwait(void)
{
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
	struct timespec at = absolute(CLOCK_REALTIME);

	pthread_mutex_lock(&mutex);
	errno = pthread_cond_timedwait(&condition, &mutex, &at);
	return -1;
}

static long for_poll(void)
{
	return poll(NULL, 0, TIMEOUT_MS);
}

static long for_ppoll(void)
{
	struct timespec span = relative();
	return ppoll(NULL, 0, &span, NULL);
}

static long for_select(void)
{
	struct timeval span = {.tv_usec = TIMEOUT_MS * 1000};
	return select(0, NULL, NULL, NULL, &span);
}

static long for_pselect(void)
{
	struct timespec span = relative();
	return pselect(0, NULL, NULL, NULL, &span, NULL);
}

static long for_epoll_wait(void)
{
	struct epoll_event event;
	int fd = epoll_create1(0);
	long result = epoll_wait(fd, &event, 1, TIMEOUT_MS);

	close(fd);
	return result;
}

static long for_nanosleep(void)
{
	struct timespec span = relative();
	return nanosleep(&span, NULL);
}

static long for_clock_nanosleep(void)
{
	struct timespec span = relative();

	errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);
	return errno ? -1 : 0;
}

static long for_semtimedop(void)
{
	static int semaphore = -1;
	struct sembuf wait = {.sem_op = -1};
	struct timespec span = relative();

	if (semaphore < 0)
		semaphore = semget(IPC_PRIVATE, 1, 0600);
	return semtimedop(semaphore, &wait, 1, &span);
}

static long for_recv(void)
{
	static int fd = -1;
	struct timeval span = {.tv_usec = TIMEOUT_MS * 1000};
	char byte;

	if (fd < 0) {
		fd = quiet_socket();
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &span, sizeof(span));
	}
	return recv(fd, &byte, 1, 0);
}

static long for_sigtimedwait(void)
{
	struct timespec span = relative();
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	return sigtimedwait(&all, NULL, &span);
}

static long for_futex(void)
{
	static int word;
	struct timespec span = relative();
	long result = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &span);

	__asm__ volatile(""); /* no tail call: the number is read from the code that calls */
	return result;
}

static struct call {
	const char *name;
	long (*make)(void);
	bool timed;
	_Atomic int rounds;
	int interrupted;
	int failed; /* errno of a return that should not have been */
	double late[MAX_ROUNDS];
} calls[] = {
	{"read", in_read, 0, 0, 0, 0, {0}},
	{"write", in_write, 0, 0, 0, 0, {0}},
	{"recv", in_recv, 0, 0, 0, 0, {0}},
	{"accept", in_accept, 0, 0, 0, 0, {0}},
	{"poll", in_poll, 0, 0, 0, 0, {0}},
	{"ppoll", in_ppoll, 0, 0, 0, 0, {0}},
	{"select", in_select, 0, 0, 0, 0, {0}},
	{"epoll_wait", in_epoll_wait, 0, 0, 0, 0, {0}},
	{"pause", in_pause, 0, 0, 0, 0, {0}},
	{"sigsuspend", in_sigsuspend, 0, 0, 0, 0, {0}},
	{"sigwaitinfo", in_sigwaitinfo, 0, 0, 0, 0, {0}},
	{"msgrcv", in_msgrcv, 0, 0, 0, 0, {0}},
	{"semop", in_semop, 0, 0, 0, 0, {0}},
	{"mq_receive", in_mq_receive, 0, 0, 0, 0, {0}},
	{"flock", in_flock, 0, 0, 0, 0, {0}},
	{"futex", in_futex, 0, 0, 0, 0, {0}},
	{"waitpid", in_waitpid, 0, 0, 0, 0, {0}},
	{"inotify", in_inotify, 0, 0, 0, 0, {0}},
	{"eventfd", in_eventfd, 0, 0, 0, 0, {0}},
	{"timerfd", in_timerfd, 0, 0, 0, 0, {0}},
	{"open_fifo", in_open_fifo, 0, 0, 0, 0, {0}},
	{"clock_nanosleep_abs", until_clock_nanosleep, 1, 0, 0, 0, {0}},
	{"sem_timedwait", until_sem_timedwait, 1, 0, 0, 0, {0}},
	{"cond_timedwait", until_cond_timedwait, 1, 0, 0, 0, {0}},
	{"poll_ms", for_poll, 1, 0, 0, 0, {0}},
	{"ppoll_rel", for_ppoll, 1, 0, 0, 0, {0}},
	{"select_rel", for_select, 1, 0, 0, 0, {0}},
	{"pselect_rel", for_pselect, 1, 0, 0, 0, {0}},
	{"epoll_wait_ms", for_epoll_wait, 1, 0, 0, 0, {0}},
	{"nanosleep", for_nanosleep, 1, 0, 0, 0, {0}},
	{"clock_nanosleep_rel", for_clock_nanosleep, 1, 0, 0, 0, {0}},
	{"semtimedop", for_semtimedop, 1, 0, 0, 0, {0}},
	{"recv_timeo", for_recv, 1, 0, 0, 0, {0}},
	{"sigtimedwait", for_sigtimedwait, 1, 0, 0, 0, {0}},
	{"futex_rel", for_futex, 1, 0, 0, 0, {0}},
};

enum { CALLS = sizeof(calls) / sizeof(*calls) };

static _Atomic int started;

static void *run_call(void *argument)
{
	struct call *call = argument;

	atomic_fetch_add(&started, 1);
	for (;;) {
		double begin = now_ms();
		long result = call->make();
		int error = errno;
		int round = atomic_load(&call->rounds);

		if (result == -1 && error == EINTR)
			call->interrupted++;
		else if (!call->timed || (result == -1 && error != ETIMEDOUT && error != EAGAIN))
			call->failed = error ? error : -1;
		if (call->failed)
			return NULL;
		if (round < MAX_ROUNDS)
			call->late[round] = now_ms() - begin - TIMEOUT_MS;
		atomic_store(&call->rounds, round + 1);
	}
}

/* ------------------------------------------------------- a signal of the application's own */

static _Atomic int interrupted_reads;
static _Atomic int handled;

static void on_usr1(int signal)
{
	(void)signal;
	atomic_fetch_add(&handled, 1);
}

static _Atomic pid_t reader;

static void *read_for_ever(void *argument)
{
	int fd = empty_pipe();
	char byte;

	atomic_store(&reader, (pid_t)syscall(SYS_gettid));
	while (read(fd, &byte, 1) == -1 && errno == EINTR)
		atomic_fetch_add(&interrupted_reads, 1);
	return argument;
}

struct harassment {
	pthread_t reader;
	_Atomic bool stop;
	int sent;
	int lost;
};

/* A signal that comes before the call is lost to every program: wait until the reader is in it. */
static void await_reader_blocked(void)
{
	struct thread_call call;
	int tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY);

	while (read_task_call(tasks, atomic_load(&reader), &call) || call.number != SYS_read)
		usleep(50);
	close(tasks);
}

/* Send a signal, wait for its EINTR, and so on. One second is long enough to call it lost. */
static void *harass(void *argument)
{
	struct harassment *harassment = argument;

	while (!atomic_load(&harassment->stop)) {
		int before = atomic_load(&interrupted_reads);
		double deadline = now_ms() + 1000;

		await_reader_blocked();
		pthread_kill(harassment->reader, SIGUSR1);
		harassment->sent++;
		while (atomic_load(&interrupted_reads) == before && now_ms() < deadline)
			usleep(50);
		harassment->lost += atomic_load(&interrupted_reads) == before;
	}
	return NULL;
}

/* ------------------------------------------------------------------------------- the captures */

static int compare(const void *first, const void *second)
{
	double difference = *(const double *)first - *(const double *)second;

	return (difference > 0) - (difference < 0);
}

static void print_call(struct call *call)
{
	int rounds = atomic_load(&call->rounds);
	int count = rounds < MAX_ROUNDS ? rounds : MAX_ROUNDS;

	qsort(call->late, (size_t)count, sizeof(*call->late), compare);
	printf("{\"call\": \"%s\", \"timed\": %s, \"rounds\": %d, \"eintr\": %d, \"failed\": %d, "
	       "\"late_median\": %.3f, \"late_worst\": %.3f}\n",
	       call->name, call->timed ? "true" : "false", rounds, call->interrupted, call->failed,
	       count ? call->late[count / 2] : 0, count ? call->late[count - 1] : 0);
}

static int states[THREAD_ENDED + 1];

static int capture(enum thread_mode mode)
{
	struct thread_table table;

	if (capture_threads(mode, &table, NULL))
		return -1;
	for (uint32_t i = 0; i < table.count; i++)
		states[thread_state(&table.threads[i])]++;
	return (int)table.count;
}

int main(int argc, char **argv)
{
	int captures = argc > 1 ? atoi(argv[1]) : 1000;
	enum thread_mode mode = argc > 2 && !strcmp(argv[2], "signal") ? THREADS_SIGNAL : THREADS_AUTO;
	struct sigaction action = {.sa_handler = on_usr1};
	static struct harassment harassment;
	pthread_t thread, harasser;
	double begin, in_captures = 0;

	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < CALLS; i++)
		pthread_create(&thread, NULL, run_call, &calls[i]);
	pthread_create(&harassment.reader, NULL, read_for_ever, NULL);
	pthread_create(&harasser, NULL, harass, &harassment);
	while (atomic_load(&started) < CALLS)
		usleep(1000);
	for (int i = 0; i < captures; i++) {
		begin = now_ms();
		if (capture(mode) != CALLS + 3)
			fprintf(stderr, "a thread is lost\n");
		in_captures += now_ms() - begin;
		usleep(300);
	}
	atomic_store(&harassment.stop, true);
	pthread_join(harasser, NULL);
	for (int i = 0; i < CALLS; i++)
		print_call(&calls[i]);
	printf("{\"captures\": %d, \"ms_each\": %.3f, \"stopped\": %d, \"read\": %d, \"missing\": %d, "
	       "\"sent\": %d, \"lost\": %d}\n",
	       captures, in_captures / captures, states[THREAD_STOPPED], states[THREAD_READ],
	       states[THREAD_MISSING], harassment.sent, harassment.lost);
	fflush(stdout);
	unlink(fifo_name);
	_exit(0);
}
