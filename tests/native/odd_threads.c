// SPDX-License-Identifier: Apache-2.0
/*
 * Threads that must not be stopped, or are hard to stop, and many captures meanwhile.
 *
 *   odd_threads CAPTURES NAME
 *
 * Prints [stopped, read, missing], counted over all captures.
 */
#define _GNU_SOURCE
#include <alloca.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture.h"
#include "proc_text.h"
#include "threads.h"

enum { ROOM_BELOW = 65536 }; /* of an alternate stack, which is something else's */

static void wait_for_ever(void)
{
	int fds[2];
	char byte;

	if (!pipe(fds))
		while (read(fds[0], &byte, 1) < 0)
			;
}

static void *block_signals(void *argument)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	wait_for_ever();
	return argument;
}

/* A vfork parent sleeps uninterruptibly until its child ends. */
static void *vfork_often(void *argument)
{
	for (;;) {
		pid_t child = vfork();

		if (child == 0) {
			usleep(20000);
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
	return argument;
}

static uintptr_t lowest_of_stack(void)
{
	pthread_attr_t attributes;
	void *stack;
	size_t size;

	pthread_getattr_np(pthread_self(), &attributes);
	pthread_attr_getstack(&attributes, &stack, &size);
	pthread_attr_destroy(&attributes);
	return (uintptr_t)stack;
}

static void *fill_stack(void *argument)
{
	uintptr_t left = (uintptr_t)__builtin_frame_address(0) - lowest_of_stack();
	volatile char *used = alloca(left - 2048);

	used[0] = 1;
	wait_for_ever();
	return argument;
}

static void wait_in_handler(int signal)
{
	(void)signal;
	wait_for_ever();
}

static void *on_alternate_stack(void *argument)
{
	size_t size = getauxval(AT_MINSIGSTKSZ) + (size_t)argument;
	char *around = mmap(NULL, size + ROOM_BELOW, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t stack = {.ss_sp = around + ROOM_BELOW, .ss_size = size};
	struct sigaction action = {.sa_handler = wait_in_handler, .sa_flags = SA_ONSTACK};

	sigaltstack(&stack, NULL);
	sigaction(SIGUSR2, &action, NULL);
	syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR2);
	return NULL;
}

static void *beside_stack(size_t size, int protection)
{
	stack_t stack = {.ss_size = size};

	stack.ss_sp = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL))
		abort();
	wait_for_ever();
	return NULL;
}

/* Registered, but too small for our frame on some processors: whoever uses it is killed. */
static void *beside_alternate_stack(void *argument)
{
	(void)argument;
	return beside_stack(4096, PROT_NONE);
}

/* The application's runtime handles signals on alternate stacks, as Go's does. */
static void *in_a_runtime_like_gos(void *argument)
{
	struct sigaction action = {.sa_handler = wait_in_handler, .sa_flags = SA_ONSTACK};

	sigaction(SIGURG, &action, NULL);
	return beside_stack((size_t)argument, PROT_READ | PROT_WRITE);
}

static void *compute(void *argument)
{
	for (volatile unsigned long count = 0;; count++)
		;
	return argument;
}

static void *do_nothing(void *argument)
{
	return argument;
}

static void *start_threads(void *argument)
{
	pthread_t thread;

	for (;;)
		if (!pthread_create(&thread, NULL, do_nothing, NULL))
			pthread_join(thread, NULL);
	return argument;
}

static struct odd {
	const char *name;
	void *(*run)(void *);
	void *argument;
	size_t stack;
	bool blocks;
	_Atomic pid_t tid;
	int states[THREAD_ENDED + 1];
} odds[] = {
	{"blocks_signals", block_signals, NULL, 0, true, 0, {0}},
	{"vforks", vfork_often, NULL, 0, false, 0, {0}},
	{"full_stack", fill_stack, NULL, 64 * 1024, true, 0, {0}},
	{"small_alternate_stack", on_alternate_stack, (void *)2048, 0, true, 0, {0}},
	{"large_alternate_stack", on_alternate_stack, (void *)65536, 0, true, 0, {0}},
	{"beside_small_alternate_stack", beside_alternate_stack, NULL, 0, true, 0, {0}},
	{"beside_large_alternate_stack", in_a_runtime_like_gos, (void *)32768, 0, true, 0, {0}},
	{"computes", compute, NULL, 0, false, 0, {0}},
	{"starts_threads", start_threads, NULL, 0, false, 0, {0}},
};

enum { ODDS = sizeof(odds) / sizeof(*odds) };

static void *run_odd(void *argument)
{
	struct odd *odd = argument;

	atomic_store(&odd->tid, (pid_t)syscall(SYS_gettid));
	return odd->run(odd->argument);
}

static void start(struct odd *odd)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	if (odd->stack)
		pthread_attr_setstacksize(&attributes, odd->stack);
	pthread_create(&thread, &attributes, run_odd, odd);
}

/*
 * A thread that runs cannot be asked how much room its stack has: wait until the one with the full
 * stack is in its call.
 */
static void await_blocked(const struct odd *odd)
{
	int tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY);
	struct thread_call call;

	while (!odd->tid || read_task_call(tasks, odd->tid, &call) || call.number != SYS_read)
		usleep(1000);
	close(tasks);
}

static void capture(struct odd *odd)
{
	struct thread_table table;

	if (capture_threads(THREADS_AUTO, &table, NULL))
		abort();
	for (uint32_t i = 1; i < table.count; i++)
		if (odd->tid == table.threads[i].tid)
			odd->states[thread_state(&table.threads[i])]++;
}

static struct odd *find(const char *name)
{
	for (int i = 0; i < ODDS; i++)
		if (!strcmp(odds[i].name, name))
			return &odds[i];
	abort();
}

int main(int argc, char **argv)
{
	struct odd *odd = argc > 2 ? find(argv[2]) : NULL;

	if (!odd)
		return 2;
	start(odd);
	if (odd->blocks)
		await_blocked(odd);
	while (!odd->tid)
		usleep(1000);
	for (int i = 0; i < atoi(argv[1]); i++) {
		capture(odd);
		usleep(1000);
	}
	printf("[%d, %d, %d]\n", odd->states[THREAD_STOPPED], odd->states[THREAD_READ],
	       odd->states[THREAD_MISSING]);
	fflush(stdout);
	_exit(0);
}
