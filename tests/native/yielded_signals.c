// SPDX-License-Identifier: Apache-2.0
/*
 * Signals of the process that wait for the main thread at the end of a pause: yielded_signals ROUNDS.
 *
 * In each pause the main thread is in a handler that blocks them, until the others go on; the thread
 * that captures unblocks them then too, but must leave them to the main one, whose call they are to
 * end. Prints how many the main thread and others have taken.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "capture.h"
#include "threads.h"

static _Atomic unsigned int turns; /* of a thread that stands still in a pause */
static _Atomic unsigned int turns_in_pause;
static _Atomic bool holding; /* the main thread's handler runs */
static _Atomic int by_main, by_others;

static void hold(int number)
{
	(void)number;
	atomic_store(&holding, true);
	while (atomic_load(&turns) == atomic_load(&turns_in_pause))
		;
	atomic_store(&holding, false);
}

static void count(int number)
{
	(void)number;
	atomic_fetch_add(syscall(SYS_gettid) == getpid() ? &by_main : &by_others, 1);
}

/* While all others stand still. */
static void send_signals(const struct thread_table *table)
{
	(void)table;
	atomic_store(&turns_in_pause, atomic_load(&turns));
	syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
	while (!atomic_load(&holding))
		usleep(100);
	kill(getpid(), SIGUSR2);
}

/* It blocks them, so that it need not leave them to anybody. */
static void *take_turns(void *argument)
{
	sigset_t counted;

	sigemptyset(&counted);
	sigaddset(&counted, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &counted, NULL);
	for (;;)
		atomic_fetch_add(&turns, 1);
	return argument;
}

static void *capture_often(void *argument)
{
	struct thread_table table;
	int rounds = *(int *)argument;

	for (int i = 1; i <= rounds; i++) {
		if (capture_threads(THREADS_AUTO, &table, send_signals))
			abort();
		while (atomic_load(&holding) || atomic_load(&by_main) + atomic_load(&by_others) < i)
			usleep(100);
	}
	printf("{\"main\": %d, \"others\": %d}\n", by_main, by_others);
	fflush(stdout);
	_exit(0);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 50;
	struct sigaction holds = {.sa_handler = hold}, counts = {.sa_handler = count};
	pthread_t thread;

	sigaddset(&holds.sa_mask, SIGUSR2);
	sigaction(SIGUSR1, &holds, NULL);
	sigaction(SIGUSR2, &counts, NULL);
	pthread_create(&thread, NULL, take_turns, NULL);
	pthread_create(&thread, NULL, capture_often, &rounds);
	for (;;)
		poll(NULL, 0, -1);
}
