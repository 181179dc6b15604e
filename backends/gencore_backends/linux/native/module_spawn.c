// SPDX-License-Identifier: Apache-2.0
/* The Python face of spawn.c. */
#define _GNU_SOURCE
#include "module_spawn.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "descriptors.h"
#include "module_gil.h"
#include "packets.h"
#include "spawn.h"

#define LONG_MESSAGE "" /* a packet of one zero byte: what it says is in a file, see channel.py */

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

struct starting {
	struct spawn_order order;
	char **arguments, **environment;
	int pidfd;
	int err;
};

static void *start_program(void *argument)
{
	struct starting *starting = argument;

	starting->pidfd = above_standard_streams(spawn_detached(&starting->order));
	starting->err = errno;
	return NULL;
}

/* Returns 0, or -1 with errno set. */
static int open_channel(int ends[2])
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -1;
	ends[0] = above_standard_streams(pair[0]);
	ends[1] = above_standard_streams(pair[1]);
	if (ends[0] >= 0 && ends[1] >= 0)
		return 0;
	pair[0] = errno;
	for (int end = 0; end < 2; end++)
		if (ends[end] >= 0)
			close(ends[end]);
	errno = pair[0];
	return -1;
}

/* Returns 0, or -1 with errno set. */
static int write_all(int file, const char *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t part = write(file, data + done, size - done);

		if (part < 0)
			return -1;
		done += (size_t)part;
	}
	return 0;
}

/* In a file: a packet has a limit of size. Returns 0, or -1 with errno set. */
static int send_message(int channel, const char *message, size_t size)
{
	int file = (int)syscall(SYS_memfd_create, "gencore-message", MFD_CLOEXEC);
	bool sent = file >= 0 && !write_all(file, message, size) &&
		    packet_send(channel, LONG_MESSAGE, 1, &file, 1) == 1;
	int err = errno;

	if (file >= 0)
		close(file);
	errno = err;
	return sent ? 0 : -1;
}

static void close_and_keep_errno(int fd)
{
	int err = errno;

	close(fd);
	errno = err;
}

/* Returns the program's pidfd, or -1 with errno set. */
static int start(struct starting *starting)
{
	starting->pidfd = -1;
	call_with_the_gil(start_program, starting);
	errno = starting->err;
	return starting->pidfd;
}

/* The same; *channel is our end of its input, from which it can read the message. */
static int start_with_message(struct starting *starting, const char *message, size_t size,
			      int *channel)
{
	int ends[2];

	if (open_channel(ends))
		return -1;
	starting->order.input = ends[1];
	if (!send_message(ends[0], message, size))
		start(starting);
	close_and_keep_errno(ends[1]);
	if (starting->pidfd < 0)
		close_and_keep_errno(ends[0]);
	else
		*channel = ends[0];
	return starting->pidfd;
}

/* Into the list before a signal handler can run, and raise: a returned value would be lost. */
static PyObject *note_started(const int *fds, int count, PyObject *started)
{
	for (int i = 0; i < count; i++) {
		PyObject *number = PyLong_FromLong(fds[i]);
		int failed = !number || PyList_Append(started, number);

		Py_XDECREF(number);
		if (failed) {
			while (i < count)
				close(fds[i++]);
			return NULL;
		}
	}
	Py_RETURN_NONE;
}

/* Whoever has filled it in calls release(). Returns 0, or -1 with an exception set. */
static int fill_in(struct starting *starting, PyObject *arguments, PyObject *environment)
{
	starting->arguments = strings_of(arguments);
	starting->environment = starting->arguments ? strings_of(environment) : NULL;
	starting->order.arguments = starting->arguments;
	starting->order.environment = starting->environment;
	return starting->environment ? 0 : -1;
}

static void release(struct starting *starting)
{
	PyMem_Free(starting->arguments);
	PyMem_Free(starting->environment);
}

const char native_spawn_doc[] = PyDoc_STR(
"spawn($module, path, arguments, environment, input, started, /)\n--\n\n"
"Start a program that is no child of this process, and append its pidfd to a list.\n\n"
"All are bytes, or lists of bytes. It is in a session of its own, and has input,\n"
"a descriptor, as its standard input and no other. Raises OSError.");

PyObject *native_spawn(PyObject *module, PyObject *args)
{
	struct starting starting = {.order = {.messages = -1}, .pidfd = -1};
	PyObject *arguments, *environment, *started;

	(void)module;
	if (!PyArg_ParseTuple(args, "yO!O!iO!", &starting.order.path, &PyList_Type, &arguments,
			      &PyList_Type, &environment, &starting.order.input, &PyList_Type,
			      &started))
		return NULL;
	if (!fill_in(&starting, arguments, environment) && start(&starting) < 0)
		PyErr_SetFromErrno(PyExc_OSError);
	release(&starting);
	return starting.pidfd < 0 ? NULL : note_started(&starting.pidfd, 1, started);
}

const char native_spawn_with_message_doc[] = PyDoc_STR(
"spawn_with_message($module, path, arguments, environment, message, started, /)\n--\n\n"
"Start one that has a local socket as its standard input, with a message to read.\n\n"
"Appends the other end of the socket and the pidfd. The message is one packet, a zero\n"
"byte, with a file in memory that has it. Raises OSError.");

PyObject *native_spawn_with_message(PyObject *module, PyObject *args)
{
	struct starting starting = {.order = {.messages = -1}, .pidfd = -1};
	PyObject *arguments, *environment, *started;
	const char *message;
	Py_ssize_t size;
	int channel = -1;

	(void)module;
	if (!PyArg_ParseTuple(args, "yO!O!y#O!", &starting.order.path, &PyList_Type, &arguments,
			      &PyList_Type, &environment, &message, &size, &PyList_Type, &started))
		return NULL;
	if (!fill_in(&starting, arguments, environment) &&
	    start_with_message(&starting, message, (size_t)size, &channel) < 0)
		PyErr_SetFromErrno(PyExc_OSError);
	release(&starting);
	if (starting.pidfd < 0)
		return NULL;
	return note_started((int[]){channel, starting.pidfd}, 2, started);
}
