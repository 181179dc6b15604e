// SPDX-License-Identifier: Apache-2.0
/* The Python face of triggers.c. */
#define _GNU_SOURCE
#include "module_triggers.h"

#include <errno.h>
#include <string.h>

#include "agent.h"
#include "clock.h"
#include "module_spawn.h"
#include "names.h"
#include "requester.h"
#include "triggers.h"

/* Returns 0, or -1 with an exception set. */
static int convert_row(PyObject *row, struct trigger *ret)
{
	unsigned long long above, hold, interval, count;
	const char *name;
	int kind;

	if (!PyArg_ParseTuple(row, "sKKKK", &name, &above, &hold, &interval, &count))
		return -1;
	kind = find_name(trigger_names, TRIGGER_KINDS, name);
	if (kind < 0) {
		PyErr_Format(PyExc_ValueError, "unknown name '%s'", name);
		return -1;
	}
	*ret = (struct trigger){(enum trigger_kind)kind, above, hold, interval, count};
	return 0;
}

/* Returns how many there are, or -1 with an exception set. */
static Py_ssize_t convert_rows(PyObject *list, struct trigger *ret)
{
	Py_ssize_t count = PyList_Size(list);

	if (count > TRIGGERS) {
		PyErr_Format(PyExc_ValueError, "more than %d triggers", TRIGGERS);
		return -1;
	}
	for (Py_ssize_t i = 0; i < count; i++)
		if (convert_row(PyList_GetItem(list, i), &ret[i]))
			return -1;
	return count;
}

/* Returns 0, or -1 with errno set. */
static int copy_path(char *ret, const char *path)
{
	errno = ENAMETOOLONG;
	if (strlen(path) >= sizeof(((struct cgroup_files *)0)->usage))
		return -1;
	strcpy(ret, path);
	return 0;
}

static int convert_files(const char *usage, const char *limit, const char *statistics, int version,
			 struct cgroup_files *ret)
{
	ret->inactive = version == 1 ? "total_inactive_file" : "inactive_file";
	return copy_path(ret->usage, usage) || copy_path(ret->limit, limit) ||
			       copy_path(ret->statistics, statistics)
		       ? -1
		       : 0;
}

/* Returns 0, or -1 with an exception set. */
static int convert_program(PyObject *arguments, PyObject *left_out, struct requester *ret)
{
	PyObject *nothing = PyList_New(0);
	char **argv = nothing ? strings_of(arguments) : NULL;
	char **envp = argv ? parse_environment(left_out, nothing) : NULL;
	int failed = !envp || requester_make(ret, argv, envp);

	if (envp && failed)
		PyErr_SetFromErrno(PyExc_OSError);
	PyMem_Free(argv);
	PyMem_Free(envp);
	Py_XDECREF(nothing);
	return failed ? -1 : 0;
}

const char native_set_triggers_doc[] = PyDoc_STR(
"set_triggers($module, rows, cgroup, arguments, left_out, /)\n--\n\n"
"Have the agent dump this process when something is the case.\n\n"
"rows is a list of (kind, above, hold, interval, count): thousandths, bytes,\n"
"nanoseconds or a number, nanoseconds, nanoseconds, dumps. cgroup is (usage file,\n"
"limit file, statistics file, version), as bytes. The command, a list of bytes, is\n"
"given the reason and the process ID as two more arguments, and this environment\n"
"without the variables of some names. Raises OSError: EBUSY where a signal has a\n"
"handler.");

PyObject *native_set_triggers(PyObject *module, PyObject *args)
{
	const char *usage, *limit, *statistics;
	PyObject *rows, *arguments, *left_out;
	struct trigger triggers[TRIGGERS];
	struct requester requester;
	struct cgroup_files files;
	Py_ssize_t count;
	int version, failed;

	(void)module;
	if (!PyArg_ParseTuple(args, "O!(yyyi)O!O!", &PyList_Type, &rows, &usage, &limit, &statistics,
			      &version, &PyList_Type, &arguments, &PyList_Type, &left_out))
		return NULL;
	count = convert_rows(rows, triggers);
	if (count < 0)
		return NULL;
	if (convert_files(usage, limit, statistics, version, &files))
		return PyErr_SetFromErrno(PyExc_OSError);
	if (convert_program(arguments, left_out, &requester))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	failed = agent_set_triggers(triggers, (size_t)count, &files, &requester);
	Py_END_ALLOW_THREADS
	if (failed)
		return PyErr_SetFromErrno(PyExc_OSError);
	Py_RETURN_NONE;
}

const char native_new_beat_doc[] = PyDoc_STR(
"new_beat($module, /)\n--\n\n"
"Return the number of a beat of an event loop, which nobody waits for yet.\n\n"
"Raises OSError if there are too many.");

PyObject *native_new_beat(PyObject *module, PyObject *ignored)
{
	int beat = triggers_new_beat();

	(void)module;
	(void)ignored;
	if (beat >= 0)
		return PyLong_FromLong(beat);
	errno = ENOSPC;
	return PyErr_SetFromErrno(PyExc_OSError);
}

/* Returns 0, or -1 with an exception set. */
static int check_beat(int beat)
{
	if (beat >= 0 && beat < BEATS)
		return 0;
	PyErr_SetString(PyExc_ValueError, "no such beat");
	return -1;
}

const char native_beat_doc[] = PyDoc_STR(
"beat($module, number, seconds, /)\n--\n\n"
"Beat, and let the agent wait for the next beat: within so many seconds.");

PyObject *native_beat(PyObject *module, PyObject *args)
{
	double seconds;
	int beat;

	(void)module;
	if (!PyArg_ParseTuple(args, "id", &beat, &seconds) || check_beat(beat))
		return NULL;
	triggers_beat(beat, now_ns() + (uint64_t)(seconds * 1e9));
	Py_RETURN_NONE;
}

const char native_suspend_beat_doc[] = PyDoc_STR(
"suspend_beat($module, number, for_ever, /)\n--\n\n"
"Let the agent wait for no next beat; for ever: the number is free.");

PyObject *native_suspend_beat(PyObject *module, PyObject *args)
{
	int beat, for_ever;

	(void)module;
	if (!PyArg_ParseTuple(args, "ip", &beat, &for_ever) || check_beat(beat))
		return NULL;
	triggers_beat(beat, for_ever ? BEAT_UNUSED : BEAT_SUSPENDED);
	Py_RETURN_NONE;
}

const char native_ask_for_dump_doc[] = PyDoc_STR(
"ask_for_dump($module, text, seconds, /)\n--\n\n"
"Have the trigger for exceptions fire, if there is one, with text as bytes.\n\n"
"Returns once this process is captured or will not be, or after so many seconds.");

PyObject *native_ask_for_dump(PyObject *module, PyObject *args)
{
	const char *text;
	double seconds;

	(void)module;
	if (!PyArg_ParseTuple(args, "yd", &text, &seconds))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	triggers_ask(text, (uint64_t)(seconds * 1000));
	Py_END_ALLOW_THREADS
	Py_RETURN_NONE;
}
