// SPDX-License-Identifier: Apache-2.0
/* The Python face of the native part. Nothing here runs in the child. */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"
#include "descriptors.h"
#include "huge_pages.h"
#include "module_gil.h"
#include "module_huge_pages.h"
#include "module_python.h"
#include "module_recorder.h"
#include "module_spawn.h"
#include "module_tracer.h"
#include "module_triggers.h"
#include "names.h"
#include "network.h"
#include "retries.h"
#include "service.h"
#include "snapshot.h"
#include "turn.h"

#ifdef Py_GIL_DISABLED
#error "gencore needs a Python with the GIL: free-threaded builds are not supported"
#endif

static int known_name(const char *const *names, int count, const char *name)
{
	int found = find_name(names, count, name);

	if (found < 0)
		PyErr_Format(PyExc_ValueError, "unknown name '%s'", name);
	return found;
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
				    reason_texts[thread->reason]);
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

	if (count >= 0 && !rows)
		PyErr_NoMemory();
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

/* Returns NULL. */
static PyObject *raise_failure(const struct step_failure *failure)
{
	errno = failure->err;
	return PyErr_SetFromErrnoWithFilename(PyExc_OSError, steps[failure->step].name);
}

/*
 * The result goes into a list of the caller's before anything else can happen: a Python signal
 * handler that raises (Ctrl-C) runs as soon as this returns, and a returned value would be lost.
 * Without memory for it nobody would end the clone. Returns 0, or -1 with an exception set.
 */
static int note_taken(const struct snapshot *snapshot, PyObject *taken)
{
	PyObject *row = describe(snapshot);
	int failed = !row || PyList_Append(taken, row);

	Py_XDECREF(row);
	if (failed)
		service_end_clone(snapshot->pidfd, snapshot->status_fd);
	return failed ? -1 : 0;
}

/* Called with the turn. */
static PyObject *take(const struct snapshot_order *order, PyObject *taken)
{
	struct step_failure failure;
	struct snapshot snapshot;

	if (snapshot_take(order, &snapshot, &failure))
		return raise_failure(&failure);
	return note_taken(&snapshot, taken) ? NULL : Py_NewRef(Py_None);
}

static PyObject *take_in_turn(const struct snapshot_order *order, PyObject *taken)
{
	uint64_t before = turn_take();
	PyObject *result = take(order, taken);

	turn_give_back(before);
	return result;
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
	struct snapshot_order order = {.kernel_writes = true, .reader = -1};
	PyObject *excluded, *taken, *result = NULL;
	const char *mode;
	int threads, allow_undumpable;

	(void)module;
	if (!PyArg_ParseTuple(args, "iIOpsIO!", &order.directory_fd, &order.coredump_filter,
			      &excluded, &allow_undumpable, &mode, &order.timeout_ms, &PyList_Type,
			      &taken))
		return NULL;
	order.allow_undumpable = allow_undumpable;
	threads = known_name(mode_names, THREADS_MODES, mode);
	order.threads = (enum thread_mode)threads;
	if (threads >= 0 && !convert_ranges(excluded, &order.excluded))
		result = take_in_turn(&order, taken);
	PyMem_Free((void *)order.excluded.rows);
	return result;
}

/* What both captures for an ELF core are asked for. Free what is excluded with PyMem_Free. */
struct elf_order {
	struct snapshot_order order;
	PyObject *excluded, *taken;
	const char *mode, *content;
	int with_dontdump, allow_undumpable;
};

/* Returns 0, or -1 with an exception set. */
static int complete_order(struct elf_order *elf)
{
	struct snapshot_order *order = &elf->order;
	int threads = known_name(mode_names, THREADS_MODES, elf->mode);
	int contents = threads < 0 ? -1 : known_name(content_names, CONTENTS, elf->content);

	order->threads = (enum thread_mode)threads;
	order->content = (enum core_content)contents;
	order->with_dontdump = elf->with_dontdump;
	order->allow_undumpable = elf->allow_undumpable;
	if (contents < 0)
		return -1;
	if (is_limited(order->content) && !find_python()) {
		PyErr_SetString(PyExc_RuntimeError, "find_python() was not asked");
		return -1;
	}
	return convert_ranges(elf->excluded, &order->excluded);
}

PyDoc_STRVAR(snapshot_to_elf_doc,
"snapshot_to_elf($module, core_fd, content, excluded, with_dontdump,\n"
"                allow_undumpable, threads, timeout_ms, taken, /)\n--\n\n"
"Clone this process; the clone writes its core to a pipe or an empty file.\n\n"
"Of anonymous memory, the contents \"stacks\" and \"triage\" take in the stacks, and\n"
"what find_python() has found out how to find. The memory in excluded is wiped.\n"
"Appends and raises what snapshot_for_kernel does.");

static PyObject *native_snapshot_to_elf(PyObject *module, PyObject *args)
{
	struct elf_order elf = {.order = {.reader = -1}};
	PyObject *result = NULL;

	(void)module;
	if (!PyArg_ParseTuple(args, "isOppsIO!", &elf.order.core_fd, &elf.content, &elf.excluded,
			      &elf.with_dontdump, &elf.allow_undumpable, &elf.mode,
			      &elf.order.timeout_ms, &PyList_Type, &elf.taken))
		return NULL;
	if (!complete_order(&elf))
		result = take_in_turn(&elf.order, elf.taken);
	PyMem_Free((void *)elf.order.excluded.rows);
	return result;
}

PyDoc_STRVAR(hand_over_doc,
"hand_over($module, channel, recorder, facts, content, excluded,\n"
"          with_dontdump, allow_undumpable, threads, timeout_ms, taken, /)\n--\n\n"
"Clone this process for a recorder, and send it what leads to the clone.\n\n"
"channel is the socket to it, recorder its pidfd, or a program as for spawn(), which\n"
"the clone then starts; facts is JSON as bytes. The clone writes its core into a pipe\n"
"whose other end the recorder gets.\n"
"Appends and raises what snapshot_to_elf does, and like that keeps the GIL.");

/* A pidfd, or a program. Returns 0, or -1 with an exception set. */
static int parse_recorder(PyObject *recorder, struct snapshot_order *ret,
			  struct spawn_order *program)
{
	if (PyTuple_Check(recorder)) {
		ret->recorder = program;
		return parse_program(recorder, program);
	}
	ret->reader = (int)PyLong_AsLong(recorder);
	return PyErr_Occurred() ? -1 : 0;
}

/* Called with the turn. The recorder is told last: of a capture that somebody ends. */
static PyObject *hand_over(int channel, struct elf_order *elf, const struct order_facts *facts)
{
	struct step_failure failure;
	struct handover handover;

	if (service_take(&elf->order, &handover, &failure))
		return raise_failure(&failure);
	if (note_taken(&handover.snapshot, elf->taken)) {
		close(handover.core);
		return NULL;
	}
	if (service_hand_over(channel, &elf->order, facts, &handover, &failure))
		return raise_failure(&failure);
	Py_RETURN_NONE;
}

static PyObject *native_hand_over(PyObject *module, PyObject *args)
{
	struct elf_order elf = {.order = {.reader = -1}};
	struct order_facts facts;
	struct spawn_order program = {.arguments = NULL};
	PyObject *recorder, *result = NULL;
	Py_ssize_t size;
	uint64_t before;
	int channel;

	(void)module;
	if (!PyArg_ParseTuple(args, "iOy#sOppsIO!", &channel, &recorder, &facts.json, &size,
			      &elf.content, &elf.excluded, &elf.with_dontdump,
			      &elf.allow_undumpable, &elf.mode, &elf.order.timeout_ms,
			      &PyList_Type, &elf.taken))
		return NULL;
	facts.size = (size_t)size;
	if (!parse_recorder(recorder, &elf.order, &program) && !complete_order(&elf)) {
		before = turn_take();
		result = hand_over(channel, &elf, &facts);
		turn_give_back(before);
	}
	release_program(&program);
	PyMem_Free((void *)elf.order.excluded.rows);
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
	[MESSAGE_MARKED_FILES] = "marked-files",
};

static PyObject *describe_message(const struct snapshot_message *message)
{
	const char *name = message->kind < MESSAGES ? message_names[message->kind] : "?";

	if (message->kind == MESSAGE_FAILURE || message->kind == MESSAGE_STEP)
		return Py_BuildValue("ssK", name,
				     message->first < STEP_COUNT ? steps[message->first].name : "?",
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
"\"not-inherited\" (MADV_DONTFORK) and \"wiped\" (MADV_WIPEONFORK) for mappings,\n"
"(\"marked-files\", mappings with MADV_DONTDUMP, 0), or None once the snapshot has\n"
"ended.");

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

PyDoc_STRVAR(runs_doc,
"runs($module, path, /)\n--\n\n"
"Return whether this process runs the program of that path, which is bytes.\n\n"
"The GIL is kept: see module_gil.c.");

static PyObject *native_runs(PyObject *module, PyObject *path)
{
	const char *name = PyBytes_AsString(path);
	struct stat own, other;

	(void)module;
	if (!name)
		return NULL;
	if (stat("/proc/self/exe", &own) || stat(name, &other))
		Py_RETURN_FALSE;
	return PyBool_FromLong(own.st_dev == other.st_dev && own.st_ino == other.st_ino);
}

PyDoc_STRVAR(userfaultfd_reports_forks_doc,
"userfaultfd_reports_forks($module, /)\n--\n\n"
"Return whether a userfaultfd of this process reports forks, see ioctl_userfaultfd(2).");

enum { FEW_DESCRIPTORS = 256 }; /* are looked at in less time than a thread takes to begin */

static void *look_for_userfaultfd(void *found)
{
	*(bool *)found = userfaultfd_reports_forks();
	return NULL;
}

static PyObject *native_userfaultfd_reports_forks(PyObject *module, PyObject *ignored)
{
	bool found = false;

	(void)module;
	(void)ignored;
	if (count_descriptors() <= FEW_DESCRIPTORS)
		look_for_userfaultfd(&found);
	else
		call_with_the_gil(look_for_userfaultfd, &found);
	return PyBool_FromLong(found);
}

PyDoc_STRVAR(arm_doc,
"arm($module, directory, facts, /)\n--\n\n"
"Start the agent, which lets other processes of this user capture this one.\n\n"
"directory is bytes: a folder for its socket, or nothing for an abstract one\n"
"alone. facts is JSON as bytes, which the agent passes on with each capture.\n"
"Does nothing but to take the facts if it runs already. Raises OSError.");

static PyObject *native_arm(PyObject *module, PyObject *args)
{
	static bool at_exit;
	const char *directory, *facts;
	Py_ssize_t size;
	int failed;

	(void)module;
	if (!PyArg_ParseTuple(args, "yy#", &directory, &facts, &size))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	failed = service_set_facts(facts, (size_t)size) || agent_arm(directory);
	Py_END_ALLOW_THREADS
	if (failed)
		return PyErr_SetFromErrno(PyExc_OSError);
	if (!at_exit) /* after finalization, which may hang like anything else */
		at_exit = !atexit(agent_disarm);
	Py_RETURN_NONE;
}

PyDoc_STRVAR(disarm_doc,
"disarm($module, /)\n--\n\n"
"End the agent, and close its sockets.");

static PyObject *native_disarm(PyObject *module, PyObject *ignored)
{
	(void)module;
	(void)ignored;
	Py_BEGIN_ALLOW_THREADS
	agent_disarm();
	Py_END_ALLOW_THREADS
	Py_RETURN_NONE;
}

PyDoc_STRVAR(is_armed_doc,
"is_armed($module, /)\n--\n\n"
"Return whether the agent listens.");

static PyObject *native_is_armed(PyObject *module, PyObject *ignored)
{
	(void)module;
	(void)ignored;
	return PyBool_FromLong(agent_is_armed());
}

PyDoc_STRVAR(set_agent_excluded_doc,
"set_agent_excluded($module, excluded, /)\n--\n\n"
"Set the memory, a sequence of (start, end), that the agent's captures wipe.\n\n"
"Raises OSError.");

static PyObject *native_set_agent_excluded(PyObject *module, PyObject *sequence)
{
	struct ranges excluded = {.count = 0};
	int failed;

	(void)module;
	if (convert_ranges(sequence, &excluded)) {
		PyMem_Free((void *)excluded.rows);
		return NULL;
	}
	Py_BEGIN_ALLOW_THREADS
	failed = service_set_excluded(excluded);
	Py_END_ALLOW_THREADS
	PyMem_Free((void *)excluded.rows);
	if (failed)
		return PyErr_SetFromErrno(PyExc_OSError);
	Py_RETURN_NONE;
}

PyDoc_STRVAR(before_fork_doc,
"before_fork($module, /)\n--\n\n"
"End the agent's thread for the moment of an os.fork(), which warns of threads.");

static PyObject *native_before_fork(PyObject *module, PyObject *ignored)
{
	(void)module;
	(void)ignored;
	Py_BEGIN_ALLOW_THREADS
	agent_pause();
	Py_END_ALLOW_THREADS
	Py_RETURN_NONE;
}

static PyObject *called_after_fork; /* or NULL */

PyDoc_STRVAR(call_after_fork_in_parent_doc,
"call_after_fork_in_parent($module, function, /)\n--\n\n"
"Set what is called when the agent's thread begins again after an os.fork().");

static PyObject *native_call_after_fork_in_parent(PyObject *module, PyObject *function)
{
	PyObject *before = called_after_fork;

	(void)module;
	called_after_fork = Py_NewRef(function);
	Py_XDECREF(before);
	Py_RETURN_NONE;
}

static int resume_agent(void *ignored)
{
	PyObject *result;

	(void)ignored;
	agent_resume();
	if (!called_after_fork)
		return 0;
	result = PyObject_CallNoArgs(called_after_fork);
	Py_XDECREF(result);
	return result ? 0 : -1;
}

PyDoc_STRVAR(after_fork_in_parent_doc,
"after_fork_in_parent($module, /)\n--\n\n"
"Start the agent's thread again as soon as the main thread runs Python code.\n\n"
"Not at once: some versions of CPython count threads after they have called this.");

static PyObject *native_after_fork_in_parent(PyObject *module, PyObject *ignored)
{
	(void)module;
	(void)ignored;
	if (Py_AddPendingCall(resume_agent, NULL) && resume_agent(NULL)) /* too many wait already */
		return NULL;
	Py_RETURN_NONE;
}

PyDoc_STRVAR(socket_in_network_doc,
"socket_in_network($module, network, /)\n--\n\n"
"Return a new socket, AF_UNIX and SOCK_SEQPACKET, in the network of a namespace.\n\n"
"network is a descriptor, see network_namespaces(7). Raises OSError: EPERM without\n"
"CAP_SYS_ADMIN.");

static PyObject *native_socket_in_network(PyObject *module, PyObject *network)
{
	int namespace = PyObject_AsFileDescriptor(network);
	int fd;

	(void)module;
	if (namespace < 0)
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	fd = socket_in_network(namespace);
	Py_END_ALLOW_THREADS
	return fd < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(fd);
}

static PyMethodDef methods[] = {
	{"snapshot_for_kernel", native_snapshot_for_kernel, METH_VARARGS, snapshot_for_kernel_doc},
	{"snapshot_to_elf", native_snapshot_to_elf, METH_VARARGS, snapshot_to_elf_doc},
	{"hand_over", native_hand_over, METH_VARARGS, hand_over_doc},
	{"take_packets", native_take_packets, METH_O, native_take_packets_doc},
	{"end_clone", native_end_clone, METH_VARARGS, native_end_clone_doc},
	{"close_last", native_close_last, METH_VARARGS, native_close_last_doc},
	{"let_go", native_let_go, METH_VARARGS, native_let_go_doc},
	{"read_message", native_read_message, METH_O, read_message_doc},
	{"dumpable", native_dumpable, METH_NOARGS, dumpable_doc},
	{"auxiliary_value", native_auxiliary_value, METH_O, auxiliary_value_doc},
	{"arm", native_arm, METH_VARARGS, arm_doc},
	{"disarm", native_disarm, METH_NOARGS, disarm_doc},
	{"is_armed", native_is_armed, METH_NOARGS, is_armed_doc},
	{"set_agent_excluded", native_set_agent_excluded, METH_O, set_agent_excluded_doc},
	{"before_fork", native_before_fork, METH_NOARGS, before_fork_doc},
	{"after_fork_in_parent", native_after_fork_in_parent, METH_NOARGS,
	 after_fork_in_parent_doc},
	{"userfaultfd_reports_forks", native_userfaultfd_reports_forks, METH_NOARGS,
	 userfaultfd_reports_forks_doc},
	{"trace", native_trace, METH_VARARGS, native_trace_doc},
	{"reap_left_clones", native_reap_left_clones, METH_O, native_reap_left_clones_doc},
	{"socket_in_network", native_socket_in_network, METH_O, socket_in_network_doc},
	{"runs", native_runs, METH_O, runs_doc},
	{"collapse", native_collapse, METH_VARARGS, native_collapse_doc},
	{"spawn", native_spawn, METH_VARARGS, native_spawn_doc},
	{"open_channel", native_open_channel, METH_VARARGS, native_open_channel_doc},
	{"send_message", native_send_message, METH_VARARGS, native_send_message_doc},
	{"inherited", native_inherited, METH_NOARGS, native_inherited_doc},
	{"may_look_at", native_may_look_at, METH_O, native_may_look_at_doc},
	{"find_python", native_find_python, METH_NOARGS, native_find_python_doc},
	{"set_triggers", native_set_triggers, METH_VARARGS, native_set_triggers_doc},
	{"new_beat", native_new_beat, METH_NOARGS, native_new_beat_doc},
	{"beat", native_beat, METH_VARARGS, native_beat_doc},
	{"suspend_beat", native_suspend_beat, METH_VARARGS, native_suspend_beat_doc},
	{"ask_for_dump", native_ask_for_dump, METH_VARARGS, native_ask_for_dump_doc},
	{"call_after_fork_in_parent", native_call_after_fork_in_parent, METH_O,
	 call_after_fork_in_parent_doc},
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

/* STEPS: for each step its name, where it is done, and what fails there. */
static int add_steps(PyObject *module)
{
	PyObject *rows = PyList_New(0);
	int result = rows ? 0 : -1;

	for (int i = 0; !result && i < STEP_COUNT; i++) {
		PyObject *row = Py_BuildValue("sss", steps[i].name, steps[i].where, steps[i].failed);

		result = row ? PyList_Append(rows, row) : -1;
		Py_XDECREF(row);
	}
	if (!result)
		result = PyModule_AddObjectRef(module, "STEPS", rows);
	Py_XDECREF(rows);
	return result;
}

static PyModuleDef_Slot slots[] = {
	{Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
	{Py_mod_exec, (void *)(uintptr_t)&add_steps},
	{0, NULL},
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_native",
	.m_doc = "Clone this process into a snapshot that dumps core.",
	.m_methods = methods,
};

/* In the child of a fork(2), whoever makes it. */
static void after_fork(void)
{
	threads_after_fork();
	agent_after_fork();
	collapse_after_fork();
}

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
		prepared = !pthread_atfork(collapse_before_fork, collapse_after_fork_in_parent, after_fork);
	}
	/* CPython 3.11 refuses a module with a slot that it does not know. */
	definition.m_slots = Py_Version >= 0x030c0000 ? slots : &slots[1];
	return PyModuleDef_Init(&definition);
}
