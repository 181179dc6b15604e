// SPDX-License-Identifier: Apache-2.0
/* The Python face of the native part, and the fork itself. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "inspect.h"
#include "snapshot.h"

#ifdef Py_GIL_DISABLED
#error "gencore needs a Python with the GIL: free-threaded builds are not supported"
#endif

static const char *const step_names[STEP_COUNT] = {
	[STEP_PIPE] = "pipe",
	[STEP_FORK] = "fork",
	[STEP_ENTER_DIRECTORY] = "enter-directory",
	[STEP_WIPE] = "wipe",
	[STEP_CORE_LIMIT] = "core-limit",
	[STEP_RESET_SIGNAL] = "reset-signal",
	[STEP_UNBLOCK_SIGNAL] = "unblock-signal",
	[STEP_RAISE] = "raise",
};

static PyObject *failed(enum snapshot_step step)
{
	return PyErr_SetFromErrnoWithFilename(PyExc_OSError, step_names[step]);
}

/* Fill in memory ranges from a sequence of (start, end). Free ret->rows with PyMem_Free. */
static int convert_ranges(PyObject *sequence, struct ranges *ret)
{
	Py_ssize_t count = PySequence_Size(sequence);
	struct range *rows = count < 0 ? NULL : PyMem_Calloc((size_t)count + 1, sizeof(*rows));

	if (!rows)
		return -1;
	*ret = (struct ranges){rows, (size_t)count};
	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *row = PySequence_GetItem(sequence, i);
		unsigned long long start, end;
		int good = row && PyArg_ParseTuple(row, "KK", &start, &end);

		Py_XDECREF(row);
		if (!good)
			return -1;
		rows[i] = (struct range){(uintptr_t)start, (uintptr_t)end};
	}
	return 0;
}

/*
 * All signals are blocked around the fork, so that no handler of the application runs in the child.
 * CPython's own work after a fork is not done: os.fork() does it, not fork(2). The handlers that C
 * libraries registered with pthread_atfork(3) run, libSystem's among them, which it needs to talk
 * to Mach in the child.
 */
static pid_t fork_with_signals_blocked(const struct snapshot_order *order)
{
	sigset_t all, old;
	pid_t pid;
	int saved;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid == 0)
		after_fork_abort(order);
	saved = errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	errno = saved;
	return pid;
}

/* Its reader never blocks: another child of the application may hold the other end open. */
static int open_status_pipe(int status[2])
{
	if (pipe(status))
		return -1;
	if (!fcntl(status[0], F_SETFD, FD_CLOEXEC) && !fcntl(status[1], F_SETFD, FD_CLOEXEC) &&
	    !fcntl(status[0], F_SETFL, O_NONBLOCK))
		return 0;
	close(status[0]);
	close(status[1]);
	return -1;
}

static PyObject *take(struct snapshot_order *order)
{
	int status[2], saved;
	pid_t pid;

	if (open_status_pipe(status))
		return failed(STEP_PIPE);
	order->status_fd = status[1];
	pid = fork_with_signals_blocked(order);
	saved = errno;
	close(status[1]);
	if (pid < 0) {
		close(status[0]);
		errno = saved;
		return failed(STEP_FORK);
	}
	return Py_BuildValue("ii", (int)pid, status[0]);
}

PyDoc_STRVAR(snapshot_doc,
"snapshot($module, directory_fd, excluded, /)\n--\n\n"
"Fork this process; the child enters the directory and aborts.\n\n"
"The memory in excluded, a sequence of (start, end), is wiped in the child.\n"
"Returns (pid, status_fd). Raises OSError with the failed step as its filename.");

static PyObject *native_snapshot(PyObject *module, PyObject *args)
{
	struct snapshot_order order = {0};
	PyObject *excluded, *result = NULL;

	(void)module;
	if (!PyArg_ParseTuple(args, "iO", &order.directory_fd, &excluded))
		return NULL;
	if (!convert_ranges(excluded, &order.excluded))
		result = take(&order);
	PyMem_Free((void *)order.excluded.rows);
	return result;
}

PyDoc_STRVAR(read_failure_doc,
"read_failure($module, status_fd, /)\n--\n\n"
"Read what an ended snapshot sent: None, or (step, errno). Does not wait.");

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
	{"snapshot", native_snapshot, METH_VARARGS, snapshot_doc},
	{"read_failure", native_read_failure, METH_O, read_failure_doc},
	{NULL, NULL, 0, NULL},
};

static int add_inspection(PyObject *module)
{
	return PyModule_AddFunctions(module, inspect_methods);
}

static PyModuleDef_Slot slots[] = {
	{Py_mod_exec, (void *)add_inspection},
	{0, NULL},
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_native",
	.m_doc = "Fork this process into a child that aborts, and say what macOS knows of it.",
	.m_methods = methods,
	.m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC PyInit__native(void)
{
	return PyModuleDef_Init(&definition);
}
