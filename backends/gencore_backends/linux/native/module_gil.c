// SPDX-License-Identifier: Apache-2.0
/*
 * Where others compute in Python, it is long until who has given up the GIL has it again: each of
 * them keeps it for 5 ms. But a file system that hangs must not make all of them wait.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "module_gil.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

enum {
	STACK = 256 * 1024,	  /* bytes */
	WITH_THE_GIL = 15000000,  /* ns: as long as three others may keep it */
	SECOND = 1000000000,	  /* ns */
};

/* Returns false if no thread can be had. */
static bool begin(pthread_t *thread, void *(*function)(void *), void *argument)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int failed;

	if (pthread_attr_init(&attributes))
		return false;
	pthread_attr_setstacksize(&attributes, STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(thread, &attributes, function, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return !failed;
}

static struct timespec soon(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	time.tv_nsec += WITH_THE_GIL;
	time.tv_sec += time.tv_nsec / SECOND;
	time.tv_nsec %= SECOND;
	return time;
}

void call_with_the_gil(void *(*function)(void *), void *argument)
{
	const struct timespec limit = soon();
	pthread_t thread;

	if (!begin(&thread, function, argument)) {
		Py_BEGIN_ALLOW_THREADS
		function(argument);
		Py_END_ALLOW_THREADS
	} else if (pthread_timedjoin_np(thread, NULL, &limit)) {
		Py_BEGIN_ALLOW_THREADS
		pthread_join(thread, NULL);
		Py_END_ALLOW_THREADS
	}
}
