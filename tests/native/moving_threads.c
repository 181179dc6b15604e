// SPDX-License-Identifier: Apache-2.0
/*
 * Three threads that block all signals and wait in read(2), so that they are only read. While the
 * others stand still, two of them get a byte: one waits for the next, one computes until the
 * capture is over. moving_threads CAPTURES prints one line of JSON: how often each was taken for one
 * that has run since it was read, and in how many a child, made like the clone while they stood still,
 * knew which.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture.h"
#include "threads.h"

static struct reader {
	int pipe[2];
	_Atomic pid_t tid;
	_Atomic int taken;
	_Atomic bool computes;
	int ran;
} moving, computing, resting;

static void *read_bytes(void *argument)
{
	struct reader *reader = argument;
	sigset_t all;
	char byte;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	reader->tid = gettid();
	while (read(reader->pipe[0], &byte, 1) == 1) {
		reader->taken++;
		while (reader->computes)
			;
	}
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

static void wake(struct reader *reader)
{
	int before = reader->taken;

	if (write(reader->pipe[1], "", 1) != 1)
		_exit(2);
	while (reader->taken == before)
		usleep(100);
}

static int checked[2]; /* the child waits for that, as the clone does */
static pid_t child;

static bool is_missing(const struct thread_table *table, const struct reader *reader)
{
	for (uint32_t i = 0; i < table->count; i++)
		if (table->threads[i].tid == reader->tid)
			return thread_state(&table->threads[i]) == THREAD_MISSING;
	return false;
}

static void be_the_clone(const struct thread_table *table)
{
	char byte;

	if (read(checked[0], &byte, 1) != 1)
		_exit(2);
	clone_threads_checked(table);
	_exit(!is_missing(table, &moving) || !is_missing(table, &computing) ||
	      is_missing(table, &resting));
}

/* While the others stand still. */
static void move(const struct thread_table *table)
{
	child = fork();
	if (child == 0)
		be_the_clone(table);
	wake(&moving);
	wake(&computing);
}

/* Whoever is not in its call would not be read. */
static void await_blocked(const struct reader *reader)
{
	char path[64], state = 'R';

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", reader->tid);
	while (state != 'S') {
		FILE *file = fopen(path, "r");

		if (!file || fscanf(file, "%*d %*s %c", &state) != 1)
			exit(2);
		fclose(file);
	}
}

static void count(const struct thread_table *table, struct reader *reader)
{
	for (uint32_t i = 0; i < table->count; i++)
		if (table->threads[i].tid == reader->tid)
			reader->ran += thread_state(&table->threads[i]) == THREAD_MISSING &&
				       table->threads[i].reason == REASON_RAN;
}

/* Returns whether it knew who had moved. */
static bool end_child(void)
{
	int status;

	if (write(checked[1], "", 1) != 1 || waitpid(child, &status, 0) != child)
		exit(2);
	return status == 0;
}

int main(int argc, char **argv)
{
	int known = 0;
	int captures = argc > 1 ? atoi(argv[1]) : 10;
	struct thread_table table;

	if (pipe(checked))
		return 2;
	begin(&moving);
	begin(&computing);
	begin(&resting);
	for (int i = 0; i < captures; i++) {
		await_blocked(&moving);
		await_blocked(&computing);
		await_blocked(&resting);
		computing.computes = true;
		if (capture_threads(THREADS_AUTO, &table, move))
			return 2;
		computing.computes = false;
		known += end_child();
		count(&table, &moving);
		count(&table, &computing);
		count(&table, &resting);
	}
	printf("{\"moving\": %d, \"computing\": %d, \"resting\": %d, \"known\": %d}\n", moving.ran,
	       computing.ran, resting.ran, known);
	fflush(stdout);
	_exit(0);
}
