// SPDX-License-Identifier: Apache-2.0
/*
 * A process that is dumped with ptrace(2) by others, and reports what it noticed of that.
 *
 *   traced calls SECONDS       threads in system calls that end after that time, or at the end
 *   traced call NAME SECONDS   the main thread in one of these, and one that sleeps
 *   traced only NAME SECONDS   the main thread alone
 *   traced registers           threads that spin with known registers
 *   traced computes            compares a floating-point register with what it was, until input ends
 *   traced vfork               a thread that waits in vfork(2) until standard input ends
 *   traced signals             counts SIGRTMIN until standard input ends
 *   traced parent              counts SIGCHLD and what waitpid(-1) finds until standard input ends
 *   traced stack               fills what is below its stack, and looks at it when input ends
 *   traced secret              memory of each kind that a core treats in its own way
 *
 * Prints a line when it is ready, and then lines of JSON.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static void await_end_of_input(void)
{
	char byte;

	while (read(STDIN_FILENO, &byte, 1) > 0 || errno == EINTR)
		errno = 0;
}

/* -------------------------------------------------------------------------------------- calls */

static struct {
	long seconds;
	int end; /* of a pipe: readable at the end */
	int wake;
	atomic_bool marked; /* half as much time again has passed */
} times;

struct call {
	const char *name;
	bool finite;
	long (*make)(void);
	long expected; /* a result, or -errno */
	long result;
	bool late; /* it ended behind the mark */
};

static long result_of(long result)
{
	return result < 0 ? -errno : result;
}

static struct timespec span(void)
{
	return (struct timespec){.tv_sec = times.seconds};
}

static long make_nanosleep(void)
{
	struct timespec time = span();

	return result_of(nanosleep(&time, NULL));
}

static long make_clock_nanosleep(void)
{
	struct timespec time = span();

	return -clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

static long make_poll(void)
{
	return result_of(poll(NULL, 0, (int)times.seconds * 1000));
}

static long make_ppoll(void)
{
	struct timespec time = span();

	return result_of(ppoll(NULL, 0, &time, NULL));
}

static long make_select(void)
{
	struct timeval time = {.tv_sec = times.seconds};

	return result_of(select(0, NULL, NULL, NULL, &time));
}

static long make_futex(void)
{
	struct timespec time = span();
	uint32_t word = 0;

	return result_of(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &time, NULL, 0));
}

static int empty_epoll(void)
{
	int fd = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN};

	epoll_ctl(fd, EPOLL_CTL_ADD, times.wake, &event);
	return fd;
}

static long make_epoll(void)
{
	struct epoll_event event;

	return result_of(epoll_wait(epoll_create1(0), &event, 1, (int)times.seconds * 1000));
}

static long make_sigtimedwait(void)
{
	struct timespec time = span();
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return result_of(sigtimedwait(&set, NULL, &time));
}

static long make_semtimedop(void)
{
	struct timespec time = span();
	struct sembuf down = {.sem_op = -1};
	int semaphores = semget(IPC_PRIVATE, 1, 0600);
	long result = result_of(semtimedop(semaphores, &down, 1, &time));

	semctl(semaphores, 0, IPC_RMID);
	return result;
}

static long make_receive(void)
{
	struct timeval time = {.tv_sec = times.seconds};
	int pair[2];
	char byte;

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	return result_of(recv(pair[0], &byte, 1, 0));
}

static long make_io_getevents(void)
{
	struct timespec time = span();
	aio_context_t context = 0;
	struct io_event event;

	syscall(SYS_io_setup, 1, &context);
	return result_of(syscall(SYS_io_getevents, context, 1, 1, &event, &time));
}

/* Those that wait for the end. */

static long make_endless_epoll(void)
{
	struct epoll_event event;

	return result_of(epoll_wait(empty_epoll(), &event, 1, -1));
}

static long make_endless_poll(void)
{
	struct pollfd fd = {.fd = times.wake, .events = POLLIN};

	return result_of(poll(&fd, 1, -1));
}

static long make_endless_read(void)
{
	char byte;

	return result_of(read(times.end, &byte, 1));
}

static int semaphores;

static long make_endless_semop(void)
{
	struct sembuf down = {.sem_op = -1};

	return result_of(semop(semaphores, &down, 1));
}

static pthread_t waits_for_signal;

static long make_endless_sigwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	return result_of(sigwaitinfo(&set, NULL));
}

enum { MUCH = 1 << 20 };
static int full[2];

static long make_long_write(void)
{
	static char data[MUCH];

	return result_of(write(full[1], data, sizeof(data)));
}

static struct call calls[] = {
	{"nanosleep", true, make_nanosleep, 0, 0, 0},
	{"clock_nanosleep", true, make_clock_nanosleep, 0, 0, 0},
	{"poll", true, make_poll, 0, 0, 0},
	{"ppoll", true, make_ppoll, 0, 0, 0},
	{"select", true, make_select, 0, 0, 0},
	{"futex", true, make_futex, -ETIMEDOUT, 0, 0},
	{"epoll_wait", true, make_epoll, 0, 0, 0},
	{"sigtimedwait", true, make_sigtimedwait, -EAGAIN, 0, 0},
	{"semtimedop", true, make_semtimedop, -EAGAIN, 0, 0},
	{"recv", true, make_receive, -EAGAIN, 0, 0},
	{"io_getevents", true, make_io_getevents, 0, 0, 0},
	{"endless epoll_wait", false, make_endless_epoll, 1, 0, 0},
	{"endless poll", false, make_endless_poll, 1, 0, 0},
	{"endless read", false, make_endless_read, 0, 0, 0},
	{"endless semop", false, make_endless_semop, 0, 0, 0},
	{"endless sigwaitinfo", false, make_endless_sigwait, SIGUSR1, 0, 0},
	{"long write", false, make_long_write, MUCH, 0, 0},
};

enum { CALLS = sizeof(calls) / sizeof(*calls) };

static void *make_call(void *argument)
{
	struct call *call = argument;

	call->result = call->make();
	call->late = atomic_load(&times.marked);
	return NULL;
}

/* A call whose timeout begins anew ends behind it. */
static void *set_mark(void *ignored)
{
	struct timespec time;

	(void)ignored;
	clock_gettime(CLOCK_MONOTONIC, &time);
	time.tv_sec += times.seconds + times.seconds / 2;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
	atomic_store(&times.marked, true);
	return NULL;
}

static void release_endless(int end)
{
	static char data[MUCH];
	uint64_t one = 1;
	struct sembuf up = {.sem_op = 1};
	size_t got = 0;

	if (write(times.wake, &one, sizeof(one)) < 0)
		exit(1);
	close(end);
	semop(semaphores, &up, 1);
	pthread_kill(waits_for_signal, SIGUSR1);
	while (got < MUCH)
		got += (size_t)read(full[0], data, sizeof(data));
}

static void print_call(const struct call *call)
{
	printf("{\"call\": \"%s\", \"as expected\": %s, \"result\": %ld, \"late\": %s}\n", call->name,
	       call->result == call->expected ? "true" : "false", call->result,
	       call->finite && call->late ? "true" : "false");
}

static int run_calls(long seconds)
{
	pthread_t threads[CALLS], marker;
	sigset_t blocked;
	int end[2];

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	if (pipe(end) || pipe(full))
		return 1;
	semaphores = semget(IPC_PRIVATE, 1, 0600);
	times.seconds = seconds;
	times.end = end[0];
	times.wake = eventfd(0, 0);
	pthread_create(&marker, NULL, set_mark, NULL);
	for (int i = 0; i < CALLS; i++) {
		pthread_create(&threads[i], NULL, make_call, &calls[i]);
		if (calls[i].make == make_endless_sigwait)
			waits_for_signal = threads[i];
	}
	ready();
	for (int i = 0; i < CALLS; i++)
		if (calls[i].finite)
			pthread_join(threads[i], NULL);
	await_end_of_input();
	release_endless(end[1]);
	for (int i = 0; i < CALLS; i++)
		if (!calls[i].finite)
			pthread_join(threads[i], NULL);
	semctl(semaphores, 0, IPC_RMID);
	for (int i = 0; i < CALLS; i++)
		print_call(&calls[i]);
	return 0;
}

static int run_call(const char *name, long seconds, bool alone)
{
	pthread_t marker;
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR2);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	times.seconds = seconds;
	if (!alone)
		pthread_create(&marker, NULL, set_mark, NULL);
	ready();
	for (int i = 0; i < CALLS; i++) {
		if (strcmp(calls[i].name, name))
			continue;
		make_call(&calls[i]);
		print_call(&calls[i]);
	}
	return 0;
}

/* ---------------------------------------------------------------------------------- registers */

enum { SPINNERS = 4 };
static atomic_int spinning;

/* With the number in a general and in a floating-point register. */
static void *spin(void *argument)
{
	uint64_t number = 0x1122334455660000u + (uintptr_t)argument;

	atomic_fetch_add(&spinning, 1);
#if defined(__x86_64__)
	__asm__ volatile("movq %0, %%r12\n\tmovq %0, %%xmm9\n1:\tjmp 1b" : : "r"(number) : "r12");
#else
	__asm__ volatile("mov x20, %0\n\tfmov d9, %0\n1:\tb 1b" : : "r"(number) : "x20");
#endif
	return NULL;
}

static int run_registers(void)
{
	for (intptr_t i = 0; i < SPINNERS; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, spin, (void *)i);
	}
	while (atomic_load(&spinning) < SPINNERS)
		sched_yield();
	ready();
	await_end_of_input();
	return 0;
}

/* Whether a register keeps a number for some milliseconds of computing. */
static bool keeps(uint64_t number)
{
	uint64_t found;

#if defined(__x86_64__)
	__asm__ volatile("movq %1, %%xmm9\n\tmovl $4000000, %%ecx\n1:\tdecl %%ecx\n\tjnz 1b\n\t"
			 "movq %%xmm9, %0"
			 : "=r"(found)
			 : "r"(number)
			 : "ecx", "xmm9");
#else
	__asm__ volatile("fmov d9, %1\n\tmov w9, #4000000 / 65536 * 65536\n1:\tsubs w9, w9, #1\n\t"
			 "b.ne 1b\n\tfmov %0, d9"
			 : "=r"(found)
			 : "r"(number)
			 : "x9", "d9");
#endif
	return found == number;
}

static int run_computes(void)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	long wrong = 0;

	ready();
	for (uint64_t number = 1; poll(&input, 1, 0) <= 0; number++)
		wrong += !keeps(number << 40 | number);
	printf("{\"wrong\": %ld}\n", wrong);
	return 0;
}

/* -------------------------------------------------------------------------------------- others */

static void *wait_in_vfork(void *ignored)
{
	(void)ignored;
	if (!vfork()) {
		char byte;

		while (read(STDIN_FILENO, &byte, 1) > 0)
			;
		_exit(0);
	}
	return NULL;
}

static int run_vfork(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, wait_in_vfork, NULL);
	ready();
	pthread_join(thread, NULL);
	puts("{\"joined\": true}");
	return 0;
}

static atomic_long counted;

static void count(int number)
{
	(void)number;
	atomic_fetch_add(&counted, 1);
}

static int run_signals(void)
{
	struct sigaction action = {.sa_handler = count};

	sigaction(SIGRTMIN, &action, NULL);
	ready();
	await_end_of_input();
	printf("{\"counted\": %ld}\n", atomic_load(&counted));
	return 0;
}

static int run_parent(void)
{
	struct sigaction action = {.sa_handler = count};
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	long found = 0;
	pid_t own;

	sigaction(SIGCHLD, &action, NULL);
	own = fork();
	if (!own) {
		pause();
		_exit(0);
	}
	ready();
	while (poll(&input, 1, 1) <= 0)
		found += waitpid(-1, NULL, WNOHANG) > 0;
	printf("{\"SIGCHLD\": %ld, \"waited\": %ld}\n", atomic_load(&counted), found);
	return kill(own, SIGKILL);
}

/* Texts that a core has, each in memory of another kind; the address of each is printed. */
static void keep(const char *name, char *memory, const char *text)
{
	strcpy(memory, text);
	printf("{\"name\": \"%s\", \"at\": %lu}\n", name, (unsigned long)(uintptr_t)memory);
}

static char *map(size_t size, int flags)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
}

static int run_secret(void)
{
	enum { LARGE = 1 << 26 };
	char *dontdump = map(4096, MAP_PRIVATE), *closed = map(4096, MAP_PRIVATE);
	char *dontfork = map(4096, MAP_PRIVATE), *wiped = map(4096, MAP_PRIVATE);
	char *sparse = map(LARGE, MAP_PRIVATE), *shared = map(LARGE, MAP_SHARED);

	keep("private", map(4096, MAP_PRIVATE), "of private memory");
	keep("dontdump", dontdump, "of dontdump memory");
	keep("closed", closed, "of closed memory");
	keep("dontfork", dontfork, "of dontfork memory");
	keep("wiped", wiped, "of wiped memory");
	keep("sparse", sparse + LARGE / 2, "of sparse memory");
	keep("shared", shared + LARGE / 2, "of shared memory");
	madvise(dontdump, 4096, MADV_DONTDUMP);
	madvise(dontfork, 4096, MADV_DONTFORK);
	madvise(wiped, 4096, MADV_WIPEONFORK);
	mprotect(closed, 4096, PROT_NONE);
	ready();
	await_end_of_input();
	return 0;
}

enum { BELOW = 1 << 16, USED = 1024 }; /* by the calls that wait */

static __attribute__((noinline)) volatile char *fill_stack(void)
{
	char room[BELOW];

	memset(room, 'Z', sizeof(room));
	__asm__ volatile("" : : "r"(room) : "memory");
	return (volatile char *)(uintptr_t)__builtin_frame_address(0) - BELOW;
}

static int run_stack(void)
{
	static const char ready_line[] = "ready\n";
	volatile char *below = fill_stack();
	long changed = 0;

	printf("{\"at\": %lu, \"size\": %d}\n", (unsigned long)(uintptr_t)below, BELOW - USED);
	fflush(stdout);
	fill_stack(); /* again: printing has used it */
	if (write(STDOUT_FILENO, ready_line, sizeof(ready_line) - 1) < 0)
		return 1;
	await_end_of_input();
	for (int i = 0; i < BELOW - USED; i++)
		changed += below[i] != 'Z';
	printf("{\"changed\": %ld}\n", changed);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "calls") && argc == 3)
		return run_calls(atol(argv[2]));
	if ((!strcmp(what, "call") || !strcmp(what, "only")) && argc == 4)
		return run_call(argv[2], atol(argv[3]), !strcmp(what, "only"));
	if (!strcmp(what, "registers"))
		return run_registers();
	if (!strcmp(what, "computes"))
		return run_computes();
	if (!strcmp(what, "vfork"))
		return run_vfork();
	if (!strcmp(what, "signals"))
		return run_signals();
	if (!strcmp(what, "parent"))
		return run_parent();
	if (!strcmp(what, "stack"))
		return run_stack();
	if (!strcmp(what, "secret"))
		return run_secret();
	return 2;
}
