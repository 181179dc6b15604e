// SPDX-License-Identifier: Apache-2.0
/*
 * Two threads that block all signals and wait in read(2), so that they are only read. While the
 * others stand still, one of them gets a byte, and waits for the next: moving_threads CAPTURES.
 * Prints one line of JSON: how often each was taken for one that has run since it was read.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "capture.h"
#include "threads.h"

static struct reader {
	int pipe[2];
	_Atomic pid_t tid;
	_Atomic int taken;
	int ran;
} moving, resting;

static void *read_bytes(void *argument)
{
	struct reader *reader = argument;
	sigset_t all;
	char byte;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	reader->tid = gettid();
	while (read(reader->pipe[0], &byte, 1) == 1)
		reader->taken++;
	return NULL;
}

static void begin(struct reader *reader)
{
	pthread_t thread;

	if (pipe(reader->pipe) || pthread_create(&thread, NULL, read_bytes, reader))
		exit(2);
	while (!reader->tid)
		usleep(1000);
}

static void move(const struct thread_table *table)
{
	int before = moving.taken;

	(void)table;
	if (write(moving.pipe[1], "", 1) != 1)
		_exit(2);
	while (moving.taken == before)
		usleep(100);
}

static void count(const struct thread_table *table, struct reader *reader)
{
	for (uint32_t i = 0; i < table->count; i++)
		if (table->threads[i].tid == reader->tid)
			reader->ran += thread_state(&table->threads[i]) == THREAD_MISSING &&
				       table->threads[i].reason == REASON_RAN;
}

int main(int argc, char **argv)
{
	int captures = argc > 1 ? atoi(argv[1]) : 10;
	struct thread_table table;

	begin(&moving);
	begin(&resting);
	for (int i = 0; i < captures; i++) {
		usleep(10000);
		if (capture_threads(THREADS_AUTO, &table, move))
			return 2;
		count(&table, &moving);
		count(&table, &resting);
	}
	printf("{\"moving\": %d, \"resting\": %d}\n", moving.ran, resting.ran);
	fflush(stdout);
	_exit(0);
}
