// SPDX-License-Identifier: Apache-2.0
/* The Python face of spawn.c. */
#define _GNU_SOURCE
#include "module_spawn.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "descriptors.h"
#include "inherited.h"
#include "module_gil.h"
#include "packets.h"
#include "spawn.h"

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

/* Whoever has the second end may ask who has sent what. Returns 0, or -1 with errno set. */
static int open_channel(int ends[2])
{
	const int yes = 1;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -1;
	setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes));
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

static void close_and_keep_errno(int fd)
{
	int err = errno;

	close(fd);
	errno = err;
}

/* Returns the program's pidfd, or -1 with errno set. */
static int start(struct starting *starting)
{
	call_with_the_gil(start_program, starting);
	errno = starting->err;
	return starting->pidfd;
}

/* Into the list before a signal handler can run, and raise: a returned value would be lost. */
static PyObject *note_descriptors(const int *fds, int count, PyObject *list)
{
	for (int i = 0; i < count; i++) {
		PyObject *number = PyLong_FromLong(fds[i]);
		int failed = !number || PyList_Append(list, number);

		Py_XDECREF(number);
		if (failed) {
			while (i < count)
				close(fds[i++]);
			return NULL;
		}
	}
	Py_RETURN_NONE;
}

static bool is_set_by(const char *variable, char *const *names)
{
	for (; *names; names++) {
		size_t length = strlen(*names);

		if (!strncmp(variable, *names, length) && variable[length] == '=')
			return true;
	}
	return false;
}

/*
 * This process's variables but for some, and others behind them. The strings stay where they are:
 * as objects of Python they would be in a core of the stacks, beside names of functions.
 */
static char **environment_without(char *const *names, char *const *added)
{
	size_t size = 1, count = 0;
	char **variables;

	for (char **variable = environ; variable && *variable; variable++)
		size++;
	for (char *const *variable = added; *variable; variable++)
		size++;
	variables = PyMem_Calloc(size, sizeof(*variables));
	if (!variables)
		return (char **)PyErr_NoMemory();
	for (char **variable = environ; variable && *variable; variable++)
		if (!is_set_by(*variable, names))
			variables[count++] = *variable;
	for (; *added; added++)
		variables[count++] = *added;
	return variables;
}

char **parse_environment(PyObject *left_out, PyObject *added)
{
	char **names = strings_of(left_out);
	char **rows = names ? strings_of(added) : NULL;
	char **environment = rows ? environment_without(names, rows) : NULL;

	PyMem_Free(names);
	PyMem_Free(rows);
	return environment;
}

int parse_program(PyObject *program, struct spawn_order *ret)
{
	PyObject *arguments, *left_out, *added;

	*ret = (struct spawn_order){.messages = -1};
	if (!PyArg_ParseTuple(program, "O!O!O!i", &PyList_Type, &arguments, &PyList_Type, &left_out,
			      &PyList_Type, &added, &ret->input))
		return -1;
	ret->arguments = strings_of(arguments);
	ret->environment = ret->arguments ? parse_environment(left_out, added) : NULL;
	return ret->environment ? 0 : -1;
}

void release_program(struct spawn_order *order)
{
	PyMem_Free((void *)order->arguments);
	PyMem_Free((void *)order->environment);
}

const char native_spawn_doc[] = PyDoc_STR(
"spawn($module, program, started, /)\n--\n\n"
"Start a program that is no child of this process, and append its pidfd to a list.\n\n"
"A program is (arguments, left out, added, input): lists of bytes, and a descriptor.\n"
"The first argument is its path. Its environment is this one's without the variables\n"
"of some names, and others behind them. It is in a session of its own, and has that\n"
"descriptor as its standard input and no other. Raises OSError.");

PyObject *native_spawn(PyObject *module, PyObject *args)
{
	struct starting starting = {.pidfd = -1};
	PyObject *program, *started;

	(void)module;
	if (!PyArg_ParseTuple(args, "O!O!", &PyTuple_Type, &program, &PyList_Type, &started))
		return NULL;
	if (!parse_program(program, &starting.order) && start(&starting) < 0)
		PyErr_SetFromErrno(PyExc_OSError);
	release_program(&starting.order);
	return starting.pidfd < 0 ? NULL : note_descriptors(&starting.pidfd, 1, started);
}

const char native_open_channel_doc[] = PyDoc_STR(
"open_channel($module, message, ends, /)\n--\n\n"
"Make a pair of local sockets, and append both to a list.\n\n"
"From the second one the message can be read: one packet, or for a long one a zero\n"
"byte, with a file in memory that has it. Raises OSError.");

PyObject *native_open_channel(PyObject *module, PyObject *args)
{
	const char *message;
	Py_ssize_t size;
	PyObject *list;
	int ends[2];

	(void)module;
	if (!PyArg_ParseTuple(args, "y#O!", &message, &size, &PyList_Type, &list))
		return NULL;
	if (open_channel(ends))
		return PyErr_SetFromErrno(PyExc_OSError);
	if (message_send(ends[0], message, (size_t)size, NULL, 0)) {
		close_and_keep_errno(ends[0]);
		close_and_keep_errno(ends[1]);
		return PyErr_SetFromErrno(PyExc_OSError);
	}
	return note_descriptors(ends, 2, list);
}

const char native_send_message_doc[] = PyDoc_STR(
"send_message($module, socket, message, /)\n--\n\n"
"Send a message as open_channel() does. Keeps the GIL. Raises OSError.");

PyObject *native_send_message(PyObject *module, PyObject *args)
{
	const char *message;
	Py_ssize_t size;
	int socket;

	(void)module;
	if (!PyArg_ParseTuple(args, "iy#", &socket, &message, &size))
		return NULL;
	if (message_send(socket, message, (size_t)size, NULL, 0))
		return PyErr_SetFromErrno(PyExc_OSError);
	Py_RETURN_NONE;
}

const char native_inherited_doc[] = PyDoc_STR(
"inherited($module, /)\n--\n\n"
"Return what a program would have of this thread if it were started now, as bytes to\n"
"compare. Keeps the GIL.");

PyObject *native_inherited(PyObject *module, PyObject *args)
{
	struct text text = {.data = NULL};
	PyObject *bytes;

	(void)module;
	(void)args;
	inherited_add(&text);
	bytes = PyBytes_FromStringAndSize(text.data, text.data ? (Py_ssize_t)text.size : 0);
	text_free(&text);
	return bytes;
}

const char native_may_look_at_doc[] = PyDoc_STR(
"may_look_at($module, pidfd, /)\n--\n\n"
"Return whether this thread may look at a process, see ptrace(2). Keeps the GIL.");

PyObject *native_may_look_at(PyObject *module, PyObject *pidfd)
{
	long fd = PyLong_AsLong(pidfd);

	(void)module;
	if (fd == -1 && PyErr_Occurred())
		return NULL;
	return PyBool_FromLong(may_look_at((int)fd));
}
