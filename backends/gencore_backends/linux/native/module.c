// SPDX-License-Identifier: Apache-2.0
/* The Python face of the native part. Nothing here runs in the child. */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "descriptors.h"
#include "retries.h"
#include "snapshot.h"

#ifdef Py_GIL_DISABLED
#error "gencore needs a Python with the GIL: free-threaded builds are not supported"
#endif

static const char *const step_names[STEP_COUNT] = {
	[STEP_PIPE] = "pipe",
	[STEP_PREPARE_THREADS] = "prepare-threads",
	[STEP_BLOCK_SIGNALS] = "block-signals",
	[STEP_STOP_THREADS] = "stop-threads",
	[STEP_CLONE] = "clone",
	[STEP_LEAVE_SERVICE] = "leave-service",
	[STEP_MAKE_DUMPABLE] = "make-dumpable",
	[STEP_ENTER_DIRECTORY] = "enter-directory",
	[STEP_CLOSE_DESCRIPTORS] = "close-descriptors",
	[STEP_AWAIT_RELEASE] = "await-release",
	[STEP_COREDUMP_FILTER] = "coredump-filter",
	[STEP_CORE_LIMIT] = "core-limit",
	[STEP_FILE_SIZE_LIMIT] = "file-size-limit",
	[STEP_RESET_SIGNAL] = "reset-signal",
	[STEP_UNBLOCK_SIGNAL] = "unblock-signal",
	[STEP_RAISE] = "raise",
	[STEP_MEMORY] = "memory",
	[STEP_READ_MAPS] = "read-maps",
	[STEP_EXCLUDE] = "exclude",
	[STEP_WRITE_NOTES] = "write-notes",
	[STEP_WRITE_CORE] = "write-core",
	[STEP_READER_ENDED] = "reader-ended",
};

static const char *const mode_names[THREADS_MODES] = {
	[THREADS_CALLER] = "caller",
	[THREADS_AUTO] = "auto",
	[THREADS_SIGNAL] = "signal",
};

static const char *const content_names[CONTENTS] = {
	[CONTENT_FULL] = "full",
	[CONTENT_PRIVATE] = "private",
	[CONTENT_STACKS] = "stacks",
	[CONTENT_TRIAGE] = "triage",
};

static const char *const reasons[REASON_COUNT] = {
	[REASON_NOT_ASKED] = "only the calling thread was requested",
	[REASON_BLOCKS_SIGNALS] = "it blocks or waits for signals, so it was read, not stopped",
	[REASON_REMAINING_TIME] = "its system call cannot be resumed exactly, so it was read, not "
				  "stopped",
	[REASON_TRANSFER] = "its system call would return with a part of its data, so it was read, "
			    "not stopped",
	[REASON_HANDLER_BLOCKS] = "a signal handler of the application blocks other signals, so it was "
				  "read, not stopped",
	[REASON_UNINTERRUPTIBLE] = "it is in uninterruptible sleep, or exiting",
	[REASON_STACK_FULL] = "its stack has no room for a signal frame, so it was read, not stopped",
	[REASON_QUEUE_FULL] = "no signal could be queued for it (RLIMIT_SIGPENDING, or seccomp)",
	[REASON_NO_ANSWER] = "it did not stop in time",
	[REASON_RAN] = "it could only be read, and has run since",
	[REASON_NOT_LOOKED_AT] = "its state in /proc could not be read (no free descriptor?)",
	[REASON_LEFT_EARLY] = "the clone took longer than the thread could wait",
};

static int find_name(const char *const *names, int count, const char *name)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(names[i], name))
			return i;
	PyErr_Format(PyExc_ValueError, "unknown name '%s'", name);
	return -1;
}

static PyObject *describe_threads(const struct thread_table *table)
{
	PyObject *list = PyList_New(0);

	for (uint32_t i = 0; list && i < table->count; i++) {
		const struct thread *thread = &table->threads[i];
		PyObject *row;

		if (thread_state(thread) == THREAD_ENDED)
			continue;
		row = Py_BuildValue("isz", (int)thread->tid, thread_quality(thread),
				    reasons[thread->reason]);
		if (!row || PyList_Append(list, row))
			Py_CLEAR(list);
		Py_XDECREF(row);
	}
	return list;
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

static PyObject *describe(const struct snapshot *snapshot)
{
	return Py_BuildValue("iii{sdsdsd}NI", (int)snapshot->pid, snapshot->pidfd, snapshot->status_fd,
			     "stop", (double)snapshot->stop_ns / 1e9, "clone",
			     (double)snapshot->clone_ns / 1e9, "release",
			     (double)snapshot->release_ns / 1e9,
			     describe_threads(&snapshot->threads),
			     (unsigned int)snapshot->threads.unlisted);
}

/*
 * Threads, signals and the table are the process's, while interpreters with a GIL of their own can
 * ask at the same time: one after the other. Who waits here is stopped and released like any other
 * thread. A holder is a process ID and a thread ID: a child that was forked meanwhile finds its
 * parent's, and a thread its own where a finalizer or signal handler asks in the middle.
 */
static _Atomic uint64_t holder;

/* Return what holder was: 0, or this thread. */
static uint64_t hold(void)
{
	const struct timespec glance = {.tv_nsec = 100000};
	const uint64_t process = (uint64_t)getpid() << 32;
	const uint64_t self = process | (uint32_t)syscall(SYS_gettid);
	uint64_t before = 0;

	while (!atomic_compare_exchange_strong(&holder, &before, self) && before != self)
		if (before >> 32 == process >> 32) {
			nanosleep(&glance, NULL);
			before = 0;
		}
	return before == self ? self : 0;
}

/*
 * The result goes into a list of the caller's before anything else can happen: a Python signal
 * handler that raises (Ctrl-C) runs as soon as this returns, and a returned value would be lost.
 */
static PyObject *take(const struct snapshot_order *order, PyObject *taken)
{
	struct step_failure failure;
	struct snapshot snapshot;
	uint64_t before = hold();
	PyObject *row = NULL;
	int failed;

	if (snapshot_take(order, &snapshot, &failure)) {
		errno = failure.err;
		PyErr_SetFromErrnoWithFilename(PyExc_OSError, step_names[failure.step]);
	} else {
		row = describe(&snapshot);
	}
	atomic_store(&holder, before);
	failed = !row || PyList_Append(taken, row);
	Py_XDECREF(row);
	if (failed)
		return NULL;
	Py_RETURN_NONE;
}

PyDoc_STRVAR(snapshot_for_kernel_doc,
"snapshot_for_kernel($module, directory_fd, coredump_filter, excluded,\n"
"                    allow_undumpable, threads, timeout_ms, taken, /)\n--\n\n"
"Clone this process; the clone writes \"notes\" into a directory and dies there.\n\n"
"The memory in excluded, a sequence of (start, end), is wiped in the clone;\n"
"with allow_undumpable the clone makes itself dumpable, see prctl(2).\n"
"The calling thread keeps the GIL throughout. Appends (pid, pidfd, status_fd,\n"
"phases, threads, unlisted) to the list taken: both descriptors are the\n"
"caller's to close, phases are seconds, threads are (tid, registers, reason),\n"
"unlisted counts those that the kernel knows beside them. Raises\n"
"OSError whose filename attribute is the name of the step that failed.");

static PyObject *native_snapshot_for_kernel(PyObject *module, PyObject *args)
{
	struct snapshot_order order = {.kernel_writes = true};
	PyObject *excluded, *taken, *result = NULL;
	const char *mode;
	int threads, allow_undumpable;

	(void)module;
	if (!PyArg_ParseTuple(args, "iIOpsIO!", &order.directory_fd, &order.coredump_filter,
			      &excluded, &allow_undumpable, &mode, &order.timeout_ms, &PyList_Type,
			      &taken))
		return NULL;
	order.allow_undumpable = allow_undumpable;
	threads = find_name(mode_names, THREADS_MODES, mode);
	order.threads = (enum thread_mode)threads;
	if (threads >= 0 && !convert_ranges(excluded, &order.excluded))
		result = take(&order, taken);
	PyMem_Free((void *)order.excluded.rows);
	return result;
}

PyDoc_STRVAR(snapshot_to_elf_doc,
"snapshot_to_elf($module, core_fd, content, kept, excluded, with_dontdump,\n"
"                allow_undumpable, threads, timeout_ms, taken, /)\n--\n\n"
"Clone this process; the clone writes its core to a pipe or an empty file.\n\n"
"Of anonymous memory, the contents \"stacks\" and \"triage\" take in the stacks and\n"
"what is kept: a sequence of (start, end) in order, to which the clone adds the\n"
"states of all Python threads. The memory in excluded is wiped.\n"
"Appends and raises what snapshot_for_kernel does.");

static PyObject *native_snapshot_to_elf(PyObject *module, PyObject *args)
{
	struct snapshot_order order = {.kernel_writes = false};
	PyObject *kept, *excluded, *taken, *result = NULL;
	const char *mode, *content;
	int threads, contents, with_dontdump, allow_undumpable;

	(void)module;
	if (!PyArg_ParseTuple(args, "isOOppsIO!", &order.core_fd, &content, &kept, &excluded,
			      &with_dontdump, &allow_undumpable, &mode, &order.timeout_ms,
			      &PyList_Type, &taken))
		return NULL;
	order.allow_undumpable = allow_undumpable;
	order.thread_state = (uintptr_t)PyThreadState_Get();
	threads = find_name(mode_names, THREADS_MODES, mode);
	contents = threads < 0 ? -1 : find_name(content_names, CONTENTS, content);
	order.threads = (enum thread_mode)threads;
	order.content = (enum core_content)contents;
	order.with_dontdump = with_dontdump;
	if (contents >= 0 && !convert_ranges(kept, &order.kept) &&
	    !convert_ranges(excluded, &order.excluded))
		result = take(&order, taken);
	PyMem_Free((void *)order.kept.rows);
	PyMem_Free((void *)order.excluded.rows);
	return result;
}

static const char *const message_names[] = {
	[MESSAGE_FAILURE] = "failure",
	[MESSAGE_SIZE] = "size",
	[MESSAGE_UNREADABLE] = "unreadable",
	[MESSAGE_STEP] = "step",
	[MESSAGE_DONE] = "done",
	[MESSAGE_MORE_UNREADABLE] = "more-unreadable",
	[MESSAGE_NOT_INHERITED] = "not-inherited",
	[MESSAGE_WIPED] = "wiped",
};

static PyObject *describe_message(const struct snapshot_message *message)
{
	const char *name = message_names[message->kind];

	if (message->kind == MESSAGE_FAILURE || message->kind == MESSAGE_STEP)
		return Py_BuildValue("ssK", name,
				     message->first < STEP_COUNT ? step_names[message->first] : "?",
				     (unsigned long long)message->second);
	return Py_BuildValue("sKK", name, (unsigned long long)message->first,
			     (unsigned long long)message->second);
}

PyDoc_STRVAR(read_message_doc,
"read_message($module, status_fd, /)\n--\n\n"
"Wait for what the snapshot says next.\n\n"
"Returns (\"size\", bytes, bytes before memory), (\"failure\", step, errno),\n"
"(\"step\", step, 0) when one begins, (\"done\", 0, 0), (\"unreadable\", address,\n"
"bytes), a number and the bytes of all with \"more-unreadable\" for ranges,\n"
"\"not-inherited\" (MADV_DONTFORK) and \"wiped\" (MADV_WIPEONFORK) for mappings, or\n"
"None once the snapshot has ended.");

static PyObject *native_read_message(PyObject *module, PyObject *arg)
{
	struct snapshot_message message;
	long fd = PyLong_AsLong(arg);
	ssize_t size;

	(void)module;
	if (fd == -1 && PyErr_Occurred())
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	do
		size = read((int)fd, &message, sizeof(message));
	while (size < 0 && errno == EINTR);
	Py_END_ALLOW_THREADS
	if (size != (ssize_t)sizeof(message))
		Py_RETURN_NONE;
	return describe_message(&message);
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

PyDoc_STRVAR(auxiliary_value_doc,
"auxiliary_value($module, row, /)\n--\n\n"
"Return what the kernel noted when this program began, 0 if nothing.\n\n"
"See getauxval(3). /proc/PID/auxv is closed to a process that is not dumpable.");

static PyObject *native_auxiliary_value(PyObject *module, PyObject *arg)
{
	unsigned long type = PyLong_AsUnsignedLong(arg);

	(void)module;
	if (PyErr_Occurred())
		return NULL;
	return PyLong_FromUnsignedLong(getauxval(type));
}

PyDoc_STRVAR(userfaultfd_reports_forks_doc,
"userfaultfd_reports_forks($module, /)\n--\n\n"
"Return whether a userfaultfd of this process reports forks, see ioctl_userfaultfd(2).");

static PyObject *native_userfaultfd_reports_forks(PyObject *module, PyObject *ignored)
{
	bool found;

	(void)module;
	(void)ignored;
	Py_BEGIN_ALLOW_THREADS
	found = userfaultfd_reports_forks();
	Py_END_ALLOW_THREADS
	return PyBool_FromLong(found);
}

static PyMethodDef methods[] = {
	{"snapshot_for_kernel", native_snapshot_for_kernel, METH_VARARGS, snapshot_for_kernel_doc},
	{"snapshot_to_elf", native_snapshot_to_elf, METH_VARARGS, snapshot_to_elf_doc},
	{"read_message", native_read_message, METH_O, read_message_doc},
	{"dumpable", native_dumpable, METH_NOARGS, dumpable_doc},
	{"auxiliary_value", native_auxiliary_value, METH_O, auxiliary_value_doc},
	{"userfaultfd_reports_forks", native_userfaultfd_reports_forks, METH_NOARGS,
	 userfaultfd_reports_forks_doc},
	{NULL, NULL, 0, NULL},
};

/*
 * Include/moduleobject.h of CPython 3.12. A build for the stable ABI of 3.11 does not see the two,
 * and is loaded by later versions that look for them.
 */
#ifndef Py_mod_multiple_interpreters
#define Py_mod_multiple_interpreters 3
#define Py_MOD_PER_INTERPRETER_GIL_SUPPORTED ((void *)2)
#endif

static PyModuleDef_Slot slots[] = {
	{Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
	{0, NULL},
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_native",
	.m_doc = "Clone this process into a snapshot that dumps core.",
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit__native(void);

/* Modules that retries.c looks for; an application mostly has them anyway. */
static void load_blocking_modules(void)
{
	static const char *const names[] = {"select", "_socket"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		PyObject *module = PyImport_ImportModule(names[i]);

		if (!module)
			PyErr_Clear();
		Py_XDECREF(module);
	}
}

PyMODINIT_FUNC PyInit__native(void)
{
	static int prepared; /* of the process, whatever interpreter it is that imports */

	if (!prepared) {
		load_blocking_modules();
		retries_note_cpython((const void *)(uintptr_t)&PyErr_CheckSignals);
		prepared = !pthread_atfork(NULL, NULL, threads_after_fork);
	}
	/* CPython 3.11 refuses a module with a slot that it does not know. */
	definition.m_slots = Py_Version >= 0x030c0000 ? slots : &slots[1];
	return PyModuleDef_Init(&definition);
}
