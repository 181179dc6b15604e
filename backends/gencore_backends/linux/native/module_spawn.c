// SPDX-License-Identifier: Apache-2.0
/* The Python face of spawn.c. */
#define _GNU_SOURCE
#include "module_spawn.h"

#include <unistd.h>

#include "descriptors.h"
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
		Py_BEGIN_ALLOW_THREADS
		pidfd = above_standard_streams(spawn_detached(&order));
		Py_END_ALLOW_THREADS
		if (pidfd < 0)
			PyErr_SetFromErrno(PyExc_OSError);
	}
	PyMem_Free(argv);
	PyMem_Free(envp);
	return pidfd < 0 ? NULL : note_started(pidfd, started);
}
