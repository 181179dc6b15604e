// SPDX-License-Identifier: Apache-2.0
/* The Python face of the native part, and the fork itself. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "snapshot.h"

static const char *const step_names[STEP_COUNT] = {
	[STEP_PIPE] = "pipe",
	[STEP_FORK] = "fork",
	[STEP_ENTER_DIRECTORY] = "enter-directory",
	[STEP_CORE_LIMIT] = "core-limit",
	[STEP_RESET_SIGNAL] = "reset-signal",
	[STEP_UNBLOCK_SIGNAL] = "unblock-signal",
	[STEP_RAISE] = "raise",
};

static PyObject *failed(enum snapshot_step step)
{
	return PyErr_SetFromErrnoWithFilename(PyExc_OSError, step_names[step]);
}

/* All signals are blocked around the fork, so that no handler of the application runs in the child. */
static pid_t fork_with_signals_blocked(int directory_fd, int status_fd)
{
	sigset_t all, old;
	pid_t pid;
	int saved;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid == 0)
		after_fork_abort(directory_fd, status_fd);
	saved = errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	errno = saved;
	return pid;
}

PyDoc_STRVAR(snapshot_doc,
"snapshot($module, directory_fd, /)\n--\n\n"
"Fork this process; the child aborts. Returns (pid, status_fd).");

static PyObject *native_snapshot(PyObject *module, PyObject *arg)
{
	long directory_fd = PyLong_AsLong(arg);
	int status[2];
	pid_t pid;

	(void)module;
	if (directory_fd == -1 && PyErr_Occurred())
		return NULL;
	if (pipe(status))
		return failed(STEP_PIPE);
	pid = fork_with_signals_blocked((int)directory_fd, status[1]);
	close(status[1]);
	if (pid < 0) {
		close(status[0]);
		return failed(STEP_FORK);
	}
	return Py_BuildValue("ii", (int)pid, status[0]);
}

PyDoc_STRVAR(read_failure_doc,
"read_failure($module, status_fd, /)\n--\n\n"
"Read what an ended snapshot sent: None, or (step, errno).");

static PyObject *native_read_failure(PyObject *module, PyObject *arg)
{
	struct step_failure failure;
	long fd = PyLong_AsLong(arg);

	(void)module;
	if (fd == -1 && PyErr_Occurred())
		return NULL;
	if (read((int)fd, &failure, sizeof(failure)) != (ssize_t)sizeof(failure))
		Py_RETURN_NONE;
	if (failure.step < 0 || failure.step >= STEP_COUNT)
		Py_RETURN_NONE;
	return Py_BuildValue("si", step_names[failure.step], (int)failure.err);
}

static PyMethodDef methods[] = {
	{"snapshot", native_snapshot, METH_O, snapshot_doc},
	{"read_failure", native_read_failure, METH_O, read_failure_doc},
	{NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_native",
	.m_doc = "Fork this process into a child that aborts.",
	.m_methods = methods,
	.m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC PyInit__native(void)
{
	return PyModuleDef_Init(&definition);
}
