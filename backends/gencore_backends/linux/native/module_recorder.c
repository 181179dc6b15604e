// SPDX-License-Identifier: Apache-2.0
/*
 * Beside threads that compute, each call that gives up the GIL has to wait for it again, see
 * module_gil.c: what the end of a dump needs is done in three calls.
 */
#define _GNU_SOURCE
#include "module_recorder.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "module_gil.h"
#include "packets.h"
#include "service.h"

enum {
	EXIT_LIMIT_MS = 5000,
};

/* ------------------------------------------------------------------------------ what has arrived */

static void close_each(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

/* Returns 0, or -1 with an exception set; then the descriptors are closed. */
static int append_packet(PyObject *list, const char *data, ssize_t size, const int *fds, size_t count)
{
	PyObject *numbers = PyTuple_New((Py_ssize_t)count);
	PyObject *row = NULL;
	int failed = !numbers;

	for (size_t i = 0; i < count && !failed; i++) {
		PyObject *number = PyLong_FromLong(fds[i]);

		failed = !number || PyTuple_SetItem(numbers, (Py_ssize_t)i, number);
	}
	if (!failed)
		row = Py_BuildValue("y#O", data, (Py_ssize_t)size, numbers);
	failed = !row || PyList_Append(list, row);
	Py_XDECREF(row);
	Py_XDECREF(numbers);
	if (failed)
		close_each(fds, count);
	return failed ? -1 : 0;
}

/* Returns 0, or -1 with an exception set. */
static int take_each(int socket, char *data, PyObject *list)
{
	int fds[PACKET_DESCRIPTORS];
	bool reset = false;
	size_t count;
	ssize_t size;

	do {
		size = packet_take(socket, data, LONGEST_PACKET, fds, &count);
		if (size < 0 && errno == ECONNRESET && !reset) {
			reset = true; /* the other end left something unread; what it sent follows */
			continue;
		}
		if (size < 0 && (errno == EAGAIN || PyList_Size(list)))
			return 0;
		if (size < 0) {
			PyErr_SetFromErrno(PyExc_OSError);
			return -1;
		}
		if (append_packet(list, data, size, fds, count))
			return -1;
	} while (size);
	return 0;
}

const char native_take_packets_doc[] = PyDoc_STR(
"take_packets($module, socket, /)\n--\n\n"
"Return the packets that have arrived, as bytes and a tuple of descriptors each.\n\n"
"The last one is empty once the other end is closed. Waits for nothing, and keeps\n"
"the GIL. Raises OSError.");

PyObject *native_take_packets(PyObject *module, PyObject *socket)
{
	long fd = PyLong_AsLong(socket);
	PyObject *list;
	char *data;

	(void)module;
	if (fd == -1 && PyErr_Occurred())
		return NULL;
	list = PyList_New(0);
	data = list ? PyMem_Malloc(LONGEST_PACKET) : NULL;
	if (list && !data)
		PyErr_NoMemory();
	if (data && take_each((int)fd, data, list))
		Py_CLEAR(list);
	else if (!data)
		Py_CLEAR(list);
	PyMem_Free(data);
	return list;
}

/* ----------------------------------------------------------------------------------- what is left */

struct clone {
	int pidfd, status_fd;
};

static void *end_clone(void *argument)
{
	const struct clone *clone = argument;

	service_end_clone(clone->pidfd, clone->status_fd);
	return NULL;
}

const char native_end_clone_doc[] = PyDoc_STR(
"end_clone($module, pidfd, status_fd, is_ours, /)\n--\n\n"
"Kill and reap a clone if it is ours, and close both descriptors.\n\n"
"In a process that was forked since, it is not.");

PyObject *native_end_clone(PyObject *module, PyObject *args)
{
	struct clone clone;
	int is_ours;

	(void)module;
	if (!PyArg_ParseTuple(args, "iip", &clone.pidfd, &clone.status_fd, &is_ours))
		return NULL;
	if (is_ours)
		call_with_the_gil(end_clone, &clone);
	else
		close_each((int[]){clone.pidfd, clone.status_fd}, 2);
	Py_RETURN_NONE;
}

static void *reap(void *argument)
{
	struct pollfd end = {.fd = *(int *)argument, .events = POLLIN};
	siginfo_t info;

	poll(&end, 1, EXIT_LIMIT_MS); /* all signals are blocked on this thread */
	waitid(P_PIDFD, (id_t)end.fd, &info, WEXITED | WNOHANG);
	return NULL;
}

static bool is_child(int pidfd)
{
	siginfo_t info;

	return !waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT);
}

const char native_close_last_doc[] = PyDoc_STR(
"close_last($module, descriptors, /)\n--\n\n"
"Close the last local socket of a list, and remove it from there.\n\n"
"In one step, between whose halves no signal's handler runs. The GIL is kept, which\n"
"os.close() gives up.");

PyObject *native_close_last(PyObject *module, PyObject *args)
{
	PyObject *list;
	Py_ssize_t last;
	long fd;

	(void)module;
	if (!PyArg_ParseTuple(args, "O!", &PyList_Type, &list))
		return NULL;
	last = PyList_Size(list) - 1;
	if (last < 0) {
		PyErr_SetString(PyExc_IndexError, "no descriptor is left");
		return NULL;
	}
	fd = PyLong_AsLong(PyList_GetItem(list, last));
	if ((fd == -1 && PyErr_Occurred()) || PyList_SetSlice(list, last, last + 1, NULL))
		return NULL;
	close((int)fd);
	Py_RETURN_NONE;
}

const char native_let_go_doc[] = PyDoc_STR(
"let_go($module, channel, pidfd, /)\n--\n\n"
"Close both descriptors of a recorder that has sent its last message.\n\n"
"If it is a child of this process, some seconds are waited for its end, to reap it.");

PyObject *native_let_go(PyObject *module, PyObject *args)
{
	int channel, pidfd;

	(void)module;
	if (!PyArg_ParseTuple(args, "ii", &channel, &pidfd))
		return NULL;
	close(channel);
	if (is_child(pidfd)) /* of a subreaper, or of the first process of a container */
		call_with_the_gil(reap, &pidfd);
	close(pidfd);
	Py_RETURN_NONE;
}
