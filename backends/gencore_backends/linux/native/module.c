// SPDX-License-Identifier: Apache-2.0
/* The Python face of the native part. Nothing here runs in the child. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "snapshot.h"

static const char *const step_names[STEP_COUNT] = {
	[STEP_PIPE] = "pipe",
	[STEP_BLOCK_SIGNALS] = "block-signals",
	[STEP_CLONE] = "clone",
	[STEP_ENTER_DIRECTORY] = "enter-directory",
	[STEP_CLOSE_DESCRIPTORS] = "close-descriptors",
	[STEP_COREDUMP_FILTER] = "coredump-filter",
	[STEP_CORE_LIMIT] = "core-limit",
	[STEP_FILE_SIZE_LIMIT] = "file-size-limit",
	[STEP_RESET_SIGNAL] = "reset-signal",
	[STEP_UNBLOCK_SIGNAL] = "unblock-signal",
	[STEP_RAISE] = "raise",
};

PyDoc_STRVAR(snapshot_doc,
"snapshot($module, directory_fd, coredump_filter, /)\n--\n\n"
"Clone this process; the clone dumps core into a directory.\n\n"
"The calling thread keeps the GIL throughout. Returns\n"
"(pid, pidfd, status_fd, clone_nanoseconds); both descriptors are the\n"
"caller's to close. Raises OSError whose filename attribute is the name\n"
"of the step that failed.");

static PyObject *native_snapshot(PyObject *module, PyObject *args)
{
	struct snapshot_order order;
	struct step_failure failure;
	struct snapshot snapshot;

	(void)module;
	if (!PyArg_ParseTuple(args, "iI", &order.directory_fd, &order.coredump_filter))
		return NULL;
	if (snapshot_clone(&order, &snapshot, &failure)) {
		errno = failure.err;
		return PyErr_SetFromErrnoWithFilename(PyExc_OSError, step_names[failure.step]);
	}
	return Py_BuildValue("iiiK", (int)snapshot.pid, snapshot.pidfd, snapshot.status_fd,
			     (unsigned long long)snapshot.clone_ns);
}

PyDoc_STRVAR(read_failure_doc,
"read_failure($module, status_fd, /)\n--\n\n"
"Read what an ended snapshot sent.\n\n"
"Returns None, or (step, errno).");

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

PyDoc_STRVAR(dumpable_doc,
"dumpable($module, /)\n--\n\n"
"Return the dumpable attribute of this process: 0, 1 or 2.\n\n"
"See PR_GET_DUMPABLE in prctl(2).");

static PyObject *native_dumpable(PyObject *module, PyObject *ignored)
{
	(void)module;
	(void)ignored;
	return PyLong_FromLong(prctl(PR_GET_DUMPABLE));
}

static PyMethodDef methods[] = {
	{"snapshot", native_snapshot, METH_VARARGS, snapshot_doc},
	{"read_failure", native_read_failure, METH_O, read_failure_doc},
	{"dumpable", native_dumpable, METH_NOARGS, dumpable_doc},
	{NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#if !defined(Py_LIMITED_API) || Py_LIMITED_API + 0 >= 0x030c0000
	{Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if !defined(Py_LIMITED_API) && PY_VERSION_HEX >= 0x030d0000
	{Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
	{0, NULL},
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_native",
	.m_doc = "Clone this process into a snapshot that dumps core.",
	.m_methods = methods,
	.m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC PyInit__native(void)
{
	return PyModuleDef_Init(&definition);
}
