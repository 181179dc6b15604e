// SPDX-License-Identifier: Apache-2.0
/* The Python face of the native part. Nothing here runs in the child. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "snapshot.h"

static const char *const step_names[STEP_COUNT] = {
	[STEP_PIPE] = "pipe",
	[STEP_PREPARE_THREADS] = "prepare-threads",
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
	[STEP_MEMORY] = "memory",
	[STEP_READ_MAPS] = "read-maps",
	[STEP_EXCLUDE] = "exclude",
	[STEP_WRITE_NOTES] = "write-notes",
	[STEP_WRITE_CORE] = "write-core",
	[STEP_PARENT_ENDED] = "parent-ended",
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
	[REASON_NOT_ASKED] = "only the calling thread was asked for",
	[REASON_BLOCKS_SIGNALS] = "it blocks or waits for signals, so it was read, not stopped",
	[REASON_REMAINING_TIME] = "its system call cannot be resumed exactly, so it was read, not "
				  "stopped",
	[REASON_UNINTERRUPTIBLE] = "it is in uninterruptible sleep, or ending",
	[REASON_STACK_FULL] = "its stack has no room for a signal frame, so it was read, not stopped",
	[REASON_QUEUE_FULL] = "no signal could be queued for it (RLIMIT_SIGPENDING, or seccomp)",
	[REASON_NO_ANSWER] = "it did not stop in time",
	[REASON_RAN] = "it could only be read, and has run since",
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
	return Py_BuildValue("iii{sdsdsd}N", (int)snapshot->pid, snapshot->pidfd, snapshot->status_fd,
			     "stop", (double)snapshot->stop_ns / 1e9, "clone",
			     (double)snapshot->clone_ns / 1e9, "release",
			     (double)snapshot->release_ns / 1e9,
			     describe_threads(&snapshot->threads));
}

/*
 * The result goes into a list of the caller's before anything else can happen: a Python signal
 * handler that raises (Ctrl-C) runs as soon as this returns, and a returned value would be lost.
 */
static PyObject *take(const struct snapshot_order *order, PyObject *taken)
{
	struct step_failure failure;
	struct snapshot snapshot;
	PyObject *row;
	int failed;

	if (snapshot_take(order, &snapshot, &failure)) {
		errno = failure.err;
		return PyErr_SetFromErrnoWithFilename(PyExc_OSError, step_names[failure.step]);
	}
	row = describe(&snapshot);
	failed = !row || PyList_Append(taken, row);
	Py_XDECREF(row);
	if (failed)
		return NULL;
	Py_RETURN_NONE;
}

PyDoc_STRVAR(snapshot_for_kernel_doc,
"snapshot_for_kernel($module, directory_fd, coredump_filter, excluded,\n"
"                    threads, timeout_ms, taken, /)\n--\n\n"
"Clone this process; the clone writes \"notes\" into a directory and dies there.\n\n"
"The memory in excluded, a sequence of (start, end), is wiped in the clone.\n"
"The calling thread keeps the GIL throughout. Appends (pid, pidfd, status_fd,\n"
"phases, threads) to the list taken: both descriptors are the caller's to\n"
"close, phases are seconds, threads are (tid, registers, reason). Raises\n"
"OSError whose filename attribute is the name of the step that failed.");

static PyObject *native_snapshot_for_kernel(PyObject *module, PyObject *args)
{
	struct snapshot_order order = {.kernel_writes = true};
	PyObject *excluded, *taken, *result = NULL;
	const char *mode;
	int threads;

	(void)module;
	if (!PyArg_ParseTuple(args, "iIOsIO!", &order.directory_fd, &order.coredump_filter,
			      &excluded, &mode, &order.timeout_ms, &PyList_Type, &taken))
		return NULL;
	threads = find_name(mode_names, THREADS_MODES, mode);
	order.threads = (enum thread_mode)threads;
	if (threads >= 0 && !convert_ranges(excluded, &order.excluded))
		result = take(&order, taken);
	PyMem_Free((void *)order.excluded.rows);
	return result;
}

PyDoc_STRVAR(snapshot_to_elf_doc,
"snapshot_to_elf($module, core_fd, content, kept, excluded, with_dontdump,\n"
"                threads, timeout_ms, taken, /)\n--\n\n"
"Clone this process; the clone writes its core to a pipe or an empty file.\n\n"
"Of anonymous memory, the contents \"stacks\" and \"triage\" take in the stacks and\n"
"what is kept: a sequence of (start, end) in order. The memory in excluded is\n"
"wiped.\n"
"Appends and raises what snapshot_for_kernel does.");

static PyObject *native_snapshot_to_elf(PyObject *module, PyObject *args)
{
	struct snapshot_order order = {.kernel_writes = false};
	PyObject *kept, *excluded, *taken, *result = NULL;
	const char *mode, *content;
	int threads, contents, with_dontdump;

	(void)module;
	if (!PyArg_ParseTuple(args, "isOOpsIO!", &order.core_fd, &content, &kept, &excluded,
			      &with_dontdump, &mode, &order.timeout_ms, &PyList_Type, &taken))
		return NULL;
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
	[MESSAGE_SIZE] = "size",
	[MESSAGE_UNREADABLE] = "unreadable",
	[MESSAGE_MORE_UNREADABLE] = "more-unreadable",
	[MESSAGE_NOT_INHERITED] = "not-inherited",
	[MESSAGE_WIPED] = "wiped",
};

static PyObject *describe_message(const struct snapshot_message *message)
{
	if (message->kind == MESSAGE_FAILURE)
		return Py_BuildValue("ssK", "failure",
				     message->first < STEP_COUNT ? step_names[message->first] : "?",
				     (unsigned long long)message->second);
	return Py_BuildValue("sKK", message_names[message->kind],
			     (unsigned long long)message->first,
			     (unsigned long long)message->second);
}

PyDoc_STRVAR(read_message_doc,
"read_message($module, status_fd, /)\n--\n\n"
"Wait for what the snapshot says next.\n\n"
"Returns (\"size\", bytes, bytes before memory), (\"failure\", step, errno),\n"
"(\"unreadable\", address, bytes), a number and the bytes of all with\n"
"\"more-unreadable\" for ranges, \"not-inherited\" (MADV_DONTFORK) and \"wiped\"\n"
"(MADV_WIPEONFORK) for mappings, or None once the snapshot has ended.");

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

static PyMethodDef methods[] = {
	{"snapshot_for_kernel", native_snapshot_for_kernel, METH_VARARGS, snapshot_for_kernel_doc},
	{"snapshot_to_elf", native_snapshot_to_elf, METH_VARARGS, snapshot_to_elf_doc},
	{"read_message", native_read_message, METH_O, read_message_doc},
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
