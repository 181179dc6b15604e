// SPDX-License-Identifier: Apache-2.0
/* The Python face of tracer.c. */
#define _GNU_SOURCE
#include "module_tracer.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>

#include "arch.h"
#include "left_clones.h"
#include "names.h"
#include "tracer.h"

static const char *const step_words[TRACE_STEPS] = {
	[TRACE_START] = "start-tracer",	 [TRACE_ATTACH] = "attach",
	[TRACE_FIND_CODE] = "find-code", [TRACE_STOP] = "stop-threads",
	[TRACE_CHOOSE] = "choose-thread", [TRACE_INJECT] = "inject",
	[TRACE_CLONE] = "clone",	 [TRACE_CHILD] = "hold-clone",
};

static const char *quality_of(const struct tracee *row)
{
	if (row->state == TRACEE_STOPPED)
		return "exact";
	return row->state == TRACEE_READ ? "partial" : "missing";
}

static bool add_set(PyObject *list, uint32_t type, const void *data, size_t size)
{
	PyObject *row = Py_BuildValue("Iy#", (unsigned int)type, (const char *)data,
				      (Py_ssize_t)size);
	bool added = row && !PyList_Append(list, row);

	Py_XDECREF(row);
	return added;
}

/* The general registers come first; a thread that was read has no others. */
static PyObject *describe_sets(const struct tracee *row)
{
	arch_registers general = row->registers;
	PyObject *list = PyList_New(0);
	bool good = list != NULL;

	if (row->state == TRACEE_READ)
		arch_registers_of_call(&row->call, 0, &general);
	if (row->state == TRACEE_READ || row->state == TRACEE_STOPPED)
		good = good && add_set(list, NT_PRSTATUS, &general, sizeof(general));
	for (int i = 0; good && row->state == TRACEE_STOPPED && i < MOST_SETS; i++)
		if (row->sets[i].data)
			good = add_set(list, row->sets[i].type, row->sets[i].data,
				       row->sets[i].size);
	if (!good)
		Py_CLEAR(list);
	return list;
}

static PyObject *describe_threads(const struct tracees *tracees)
{
	PyObject *list = PyList_New(0);

	for (uint32_t i = 0; list && i < tracees->count; i++) {
		const struct tracee *thread = &tracees->rows[i];
		PyObject *row;

		if (thread->state == TRACEE_ENDED)
			continue;
		row = Py_BuildValue("iszN", (int)thread->tid, quality_of(thread),
				    reason_texts[thread->reason], describe_sets(thread));
		if (!row || PyList_Append(list, row))
			Py_CLEAR(list);
		Py_XDECREF(row);
	}
	return list;
}

static PyObject *describe(const struct trace *trace)
{
	return Py_BuildValue("iii{sdsdsd}NI", (int)trace->child, trace->control, trace->done, "stop",
			     (double)trace->stop_ns / 1e9, "clone", (double)trace->clone_ns / 1e9,
			     "release", (double)trace->release_ns / 1e9,
			     describe_threads(trace->tracees),
			     (unsigned int)trace->tracees->unlisted);
}

const char native_trace_doc[] = PyDoc_STR(
"trace($module, pid, every_thread, timeout_ms, taken, /)\n--\n\n"
"Clone another process by a system call that one of its threads makes.\n\n"
"With every_thread those are stopped too whose system call may then time out later.\n"
"Appends (pid, control, done, phases, threads, unlisted) to the list taken: the\n"
"clone stands still until a byte is written to control; then one can be read\n"
"from done, 1 if the clone is gone, 0 if it is left as a zombie. Both descriptors\n"
"are the caller's to close. Threads are (tid, registers, reason, sets), the sets\n"
"(type, bytes) as in notes of a core. Raises OSError whose filename attribute is\n"
"the name of the step that failed.");

PyObject *native_trace(PyObject *module, PyObject *args)
{
	struct trace trace = {.failed = false};
	PyObject *taken, *row = NULL;
	int pid, all, failed;

	(void)module;
	if (!PyArg_ParseTuple(args, "ipIO!", &pid, &all, &trace.timeout_ms, &PyList_Type, &taken))
		return NULL;
	trace.pid = pid;
	trace.all = all;
	Py_BEGIN_ALLOW_THREADS
	failed = trace_take(&trace);
	Py_END_ALLOW_THREADS
	if (failed) {
		errno = trace.err;
		PyErr_SetFromErrnoWithFilename(PyExc_OSError, step_words[trace.step]);
	} else {
		row = describe(&trace);
	}
	failed = !row || PyList_Append(taken, row);
	Py_BEGIN_ALLOW_THREADS
	if (trace.described)
		trace_described(&trace, !failed);
	Py_END_ALLOW_THREADS
	Py_XDECREF(row);
	if (failed)
		return NULL;
	Py_RETURN_NONE;
}

const char native_reap_left_clones_doc[] = PyDoc_STR(
"reap_left_clones($module, pid, /)\n--\n\n"
"Let a process forget its clones whose tracer was killed.\n\n"
"Returns how many are left: they have not ended, or it cannot be traced now.");

PyObject *native_reap_left_clones(PyObject *module, PyObject *pid)
{
	long process = PyLong_AsLong(pid);
	int left;

	(void)module;
	if (process == -1 && PyErr_Occurred())
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	left = reap_left_clones((pid_t)process);
	Py_END_ALLOW_THREADS
	return PyLong_FromLong(left);
}
