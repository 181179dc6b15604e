// SPDX-License-Identifier: Apache-2.0
/* The Python face of spawn.c. */
#define _GNU_SOURCE
#include "module_spawn.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "descriptors.h"
#include "spawn.h"

enum {
	STACK = 256 * 1024,	 /* bytes */
	WITH_THE_GIL = 3000000,	 /* ns: less than the five after which others ask for it */
};

char **strings_of(PyObject *list)
{
	Py_ssize_t count = PyList_Size(list);
	char **strings = PyMem_Calloc((size_t)count + 1, sizeof(*strings));

	for (Py_ssize_t i = 0; strings && i < count; i++) {
		strings[i] = PyBytes_AsString(PyList_GetItem(list, i));
		if (!strings[i]) {
			PyMem_Free(strings);
			return NULL;
		}
	}
	if (!strings)
		PyErr_NoMemory();
	return strings;
}

/*
 * Another thread starts the program, so that this one need not give up the GIL for it: where others
 * compute in Python, it is long until it comes back. But a file system that hangs must not keep it.
 */
struct starting {
	const struct spawn_order *order;
	pthread_t thread;
	int pidfd, err;
};

static void *start_program(void *argument)
{
	struct starting *starting = argument;

	starting->pidfd = spawn_detached(starting->order);
	starting->err = errno;
	return NULL;
}

/* Returns false if no thread can be had. No handler of the application runs on it. */
static bool begin(struct starting *starting)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int failed;

	if (pthread_attr_init(&attributes))
		return false;
	pthread_attr_setstacksize(&attributes, STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(&starting->thread, &attributes, start_program, starting);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return !failed;
}

static struct timespec soon(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	time.tv_nsec += WITH_THE_GIL;
	time.tv_sec += time.tv_nsec / 1000000000;
	time.tv_nsec %= 1000000000;
	return time;
}

static int spawn_for_python(const struct spawn_order *order)
{
	struct starting starting = {.order = order, .pidfd = -1};
	const struct timespec limit = soon();

	if (!begin(&starting)) {
		Py_BEGIN_ALLOW_THREADS
		start_program(&starting);
		Py_END_ALLOW_THREADS
	} else if (pthread_timedjoin_np(starting.thread, NULL, &limit)) {
		Py_BEGIN_ALLOW_THREADS
		pthread_join(starting.thread, NULL);
		Py_END_ALLOW_THREADS
	}
	errno = starting.err;
	return starting.pidfd;
}

const char native_spawn_doc[] = PyDoc_STR(
"spawn($module, path, arguments, environment, input, started, /)\n--\n\n"
"Start a program that is no child of this process, and append its pidfd to a list.\n\n"
"All are bytes, or lists of bytes. It is in a session of its own, and has input,\n"
"a descriptor, as its standard input and no other. Raises OSError.");

/* Into the list before a signal handler can run, and raise: a returned value would be lost. */
static PyObject *note_started(int pidfd, PyObject *started)
{
	PyObject *number = PyLong_FromLong(pidfd);
	int failed = !number || PyList_Append(started, number);

	Py_XDECREF(number);
	if (failed) {
		close(pidfd);
		return NULL;
	}
	Py_RETURN_NONE;
}

PyObject *native_spawn(PyObject *module, PyObject *args)
{
	struct spawn_order order = {.messages = -1};
	PyObject *arguments, *environment, *started;
	char **argv, **envp = NULL;
	int pidfd = -1;

	(void)module;
	if (!PyArg_ParseTuple(args, "yO!O!iO!", &order.path, &PyList_Type, &arguments, &PyList_Type,
			      &environment, &order.input, &PyList_Type, &started))
		return NULL;
	argv = strings_of(arguments);
	if (argv)
		envp = strings_of(environment);
	if (envp) {
		order.arguments = argv;
		order.environment = envp;
		pidfd = above_standard_streams(spawn_for_python(&order));
		if (pidfd < 0)
			PyErr_SetFromErrno(PyExc_OSError);
	}
	PyMem_Free(argv);
	PyMem_Free(envp);
	return pidfd < 0 ? NULL : note_started(pidfd, started);
}
