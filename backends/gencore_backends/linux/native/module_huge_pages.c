// SPDX-License-Identifier: Apache-2.0
/* The Python face of huge_pages.c. */
#define _GNU_SOURCE
#include "module_huge_pages.h"

#include <stdbool.h>

#include "clock.h"
#include "huge_pages.h"

#define MS 1000000ull

enum { UNINTERRUPTED_MS = 100 };

const char native_collapse_doc[] =
"collapse($module, total_ms, stall_ms, room, /)\n--\n\n"
"Collapse this process's memory into huge pages, without the GIL.\n\n"
"Ends after total_ms, after a step of more than stall_ms, or where the process\n"
"would grow by more than room, which is bytes. Returns huge_before, huge_after,\n"
"private_after and shared, all in bytes, steps, longest_ns, total_ns, why it has\n"
"stopped (a word) or None, and an errno or 0. Raises what handlers of signals do.";

static PyObject *describe(const struct collapse_result *result)
{
	return Py_BuildValue("KKKKKKKzi", (unsigned long long)result->huge_before,
			     (unsigned long long)result->huge_after,
			     (unsigned long long)result->private_after,
			     (unsigned long long)result->shared, (unsigned long long)result->steps,
			     (unsigned long long)result->longest_ns,
			     (unsigned long long)result->total_ns, result->stopped, result->err);
}

/* Returns false at the end. */
static bool go_on_for_a_while(struct collapse *collapse)
{
	uint64_t end = now_ns() + UNINTERRUPTED_MS * MS;
	bool more;

	do
		more = collapse_next(collapse);
	while (more && now_ns() < end);
	return more;
}

PyObject *native_collapse(PyObject *module, PyObject *args)
{
	struct collapse_limits limits;
	struct collapse collapse;
	unsigned long long total_ms, stall_ms, room;
	bool more = true, raised = false;

	(void)module;
	if (!PyArg_ParseTuple(args, "KKK", &total_ms, &stall_ms, &room))
		return NULL;
	limits = (struct collapse_limits){total_ms * MS, stall_ms * MS, room};
	Py_BEGIN_ALLOW_THREADS
	collapse_begin(&collapse, &limits);
	Py_END_ALLOW_THREADS
	while (more && !raised) {
		Py_BEGIN_ALLOW_THREADS
		more = go_on_for_a_while(&collapse);
		Py_END_ALLOW_THREADS
		raised = PyErr_CheckSignals();
	}
	Py_BEGIN_ALLOW_THREADS
	collapse_end(&collapse);
	Py_END_ALLOW_THREADS
	return raised ? NULL : describe(&collapse.result);
}
