// SPDX-License-Identifier: Apache-2.0
/*
 * The application's own real-time signals while captures are made: realtime_signals CAPTURES.
 *
 * Of the highest numbers, which a capture would choose, one is awaited, one is read from a
 * signalfd, one is blocked and queued all the time, for the process, for another thread and for
 * the one that captures, and one has a handler. Prints one line of JSON for each: how many were
 * sent, how many came, and how often one came out of order or its disposition was another one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "capture.h"
#include "threads.h"

enum { QUEUED = 10 };

static struct use {
	const char *name;
	int below; /* SIGRTMAX */
	_Atomic int sent;
	_Atomic int came;
	_Atomic int wrong;
} awaited = {"awaited", 1, 0, 0, 0}, read_from = {"read", 2, 0, 0, 0},
  handled = {"handled", 3, 0, 0, 0}, queued = {"queued", 4, 0, 0, 0},
  for_thread = {"queued for a thread", 5, 0, 0, 0}, own = {"queued for the caller", 6, 0, 0, 0};

static int number_of(const struct use *use)
{
	return SIGRTMAX - use->below;
}

/* The next one has the next value. */
static void note(struct use *use, int value)
{
	use->wrong += value != use->came;
	use->came++;
}

static void send_next(struct use *use)
{
	if (!sigqueue(getpid(), number_of(use), (union sigval){.sival_int = use->sent}))
		use->sent++;
}

static sigset_t set_of(const struct use *use)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, number_of(use));
	return set;
}

static void block(const struct use *use)
{
	sigset_t set = set_of(use);

	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void *await(void *argument)
{
	sigset_t set = set_of(&awaited);
	siginfo_t info;

	for (;;)
		if (sigwaitinfo(&set, &info) > 0)
			note(&awaited, info.si_value.sival_int);
	return argument;
}

static void *read_signals(void *argument)
{
	sigset_t set = set_of(&read_from);
	int fd = signalfd(-1, &set, 0);
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof(info)) > 0)
		note(&read_from, info.ssi_int);
	return argument;
}

static _Atomic bool taking;

/* No other thread blocks this one. */
static void queue_here(struct use *use)
{
	block(use);
	for (; use->sent < QUEUED; use->sent++)
		pthread_sigqueue(pthread_self(), number_of(use),
				 (union sigval){.sival_int = use->sent});
}

static void take_queued(struct use *use)
{
	const struct timespec at_once = {0};
	sigset_t set = set_of(use);
	siginfo_t info;

	while (sigtimedwait(&set, &info, &at_once) > 0)
		note(use, info.si_value.sival_int);
}

static void *keep_queued(void *argument)
{
	queue_here(&for_thread);
	while (!taking)
		usleep(1000);
	take_queued(&for_thread);
	return argument;
}

/* While threads stand still: none of these signals is the one that stops them. */
static void look(const struct thread_table *table)
{
	struct use *const unhandled[] = {&awaited, &read_from, &queued, &for_thread, &own};

	(void)table;
	for (size_t i = 0; i < sizeof(unhandled) / sizeof(*unhandled); i++) {
		struct sigaction action;

		sigaction(number_of(unhandled[i]), NULL, &action);
		unhandled[i]->wrong += action.sa_handler != SIG_DFL;
	}
}

static void handle(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	note(&handled, info->si_value.sival_int);
}

static void wait_until_came(const struct use *use)
{
	for (int i = 0; i < 20000 && use->came < use->sent; i++)
		usleep(1000);
}

static void print(const struct use *use)
{
	printf("{\"use\": \"%s\", \"sent\": %d, \"came\": %d, \"wrong\": %d}\n", use->name,
	       use->sent, use->came, use->wrong);
}

int main(int argc, char **argv)
{
	int captures = argc > 1 ? atoi(argv[1]) : 100;
	struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART};
	struct thread_table table;
	pthread_t waiter, reader, keeper;

	block(&awaited);
	block(&read_from);
	block(&queued);
	sigaction(number_of(&handled), &action, NULL);
	while (queued.sent < QUEUED)
		send_next(&queued);
	pthread_create(&waiter, NULL, await, NULL);
	pthread_create(&reader, NULL, read_signals, NULL);
	pthread_create(&keeper, NULL, keep_queued, NULL);
	queue_here(&own);
	while (for_thread.sent < QUEUED)
		usleep(1000);
	for (int i = 0; i < captures; i++) {
		send_next(&awaited);
		send_next(&read_from);
		send_next(&handled);
		if (capture_threads(THREADS_AUTO, &table, look))
			return 1;
		usleep(500);
	}
	taking = true;
	pthread_join(keeper, NULL);
	take_queued(&queued);
	take_queued(&own);
	wait_until_came(&awaited);
	wait_until_came(&read_from);
	wait_until_came(&handled);
	print(&awaited);
	print(&read_from);
	print(&handled);
	print(&queued);
	print(&for_thread);
	print(&own);
	fflush(stdout);
	_exit(0);
}
