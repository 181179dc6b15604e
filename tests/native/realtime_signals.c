// SPDX-License-Identifier: Apache-2.0
/*
 * The application's own real-time signals while captures are made: realtime_signals CAPTURES.
 *
 * Of the highest numbers, which a capture would choose, one is awaited, one is read from a
 * signalfd, one is blocked and queued all the time, for the process and for a thread, and one has a
 * handler. Prints one line of JSON for each: how many were sent, and how many came, in order.
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
	int sent;
	_Atomic int came;
	_Atomic int wrong;
} awaited = {"awaited", 1, 0, 0, 0}, read_from = {"read", 2, 0, 0, 0},
  handled = {"handled", 3, 0, 0, 0}, queued = {"queued", 4, 0, 0, 0},
  for_thread = {"queued for a thread", 5, 0, 0, 0};

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

/* What was queued for this thread is still there. */
static void *keep_queued(void *argument)
{
	const struct timespec at_once = {0};
	sigset_t set = set_of(&for_thread);
	siginfo_t info;

	for (; for_thread.sent < QUEUED; for_thread.sent++)
		pthread_sigqueue(pthread_self(), number_of(&for_thread),
				 (union sigval){.sival_int = for_thread.sent});
	while (!taking)
		usleep(1000);
	while (sigtimedwait(&set, &info, &at_once) > 0)
		note(&for_thread, info.si_value.sival_int);
	return argument;
}

static void handle(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	note(&handled, info->si_value.sival_int);
}

static void take_queued(void)
{
	const struct timespec at_once = {0};
	sigset_t set = set_of(&queued);
	siginfo_t info;

	while (sigtimedwait(&set, &info, &at_once) > 0)
		note(&queued, info.si_value.sival_int);
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
	block(&for_thread);
	sigaction(number_of(&handled), &action, NULL);
	while (queued.sent < QUEUED)
		send_next(&queued);
	pthread_create(&waiter, NULL, await, NULL);
	pthread_create(&reader, NULL, read_signals, NULL);
	pthread_create(&keeper, NULL, keep_queued, NULL);
	for (int i = 0; i < captures; i++) {
		send_next(&awaited);
		send_next(&read_from);
		send_next(&handled);
		if (capture_threads(THREADS_AUTO, &table, NULL))
			return 1;
		usleep(500);
	}
	taking = true;
	pthread_join(keeper, NULL);
	take_queued();
	wait_until_came(&awaited);
	wait_until_came(&read_from);
	wait_until_came(&handled);
	print(&awaited);
	print(&read_from);
	print(&handled);
	print(&queued);
	print(&for_thread);
	fflush(stdout);
	_exit(0);
}
