// SPDX-License-Identifier: Apache-2.0
/*
 * One binary serves all versions, so what their private headers say is a table here. From 3.13 on
 * an interpreter says the rest itself: struct _Py_DebugOffsets in Include/internal/pycore_runtime.h,
 * since 3.14 in pycore_debug_offsets.h. A patch release or a build of one's own may differ from the
 * table: the calling thread's own frame is looked for before it is believed.
 */
#define _GNU_SOURCE
#include "module_python.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "python_stacks.h"

/* The rows that are in the same place in every version of _Py_DebugOffsets. */
struct debug_offsets {
	char cookie[8];
	uint64_t version, free_threaded;
	uint64_t runtime_size, finalizing, first_interpreter;
	uint64_t interpreter_size, id, next_interpreter, first_state;
};

/* first_interpreter is in _PyRuntime here; zeros are what the interpreter says itself. */
static const struct {
	unsigned int minor;
	struct python_layout layout;
} versions[] = {
	{11, {.first_interpreter = 40, .interpreter_size = 107752, .first_state = 16,
	      .frame_of_state = 56, .through_c_frame = true, .frame_of_c_frame = 8,
	      .code_of_frame = 32, .previous_frame = 48, .code_head = 184,
	      .tuple_head = 24, .ascii_head = 48, .text_head = 72}},
	{12, {.first_interpreter = 40, .interpreter_size = 383552, .first_state = 72,
	      .frame_of_state = 56, .through_c_frame = true, .previous_frame = 8,
	      .code_head = 192, .tuple_head = 24, .ascii_head = 40, .text_head = 56}},
	{13, {.frame_of_state = 72, .previous_frame = 8, .code_head = 200,
	      .tuple_head = 24, .ascii_head = 40, .text_head = 56}},
	{14, {.frame_of_state = 72, .previous_frame = 8, .code_head = 208,
	      .tuple_head = 32, .ascii_head = 40, .text_head = 56}},
	{15, {.frame_of_state = 72, .previous_frame = 8, .code_head = 208,
	      .tuple_head = 32, .ascii_head = 40, .text_head = 56}},
};

static bool find_version(struct python_layout *ret)
{
	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
		*ret = versions[i].layout;
		if (Py_Version >> 16 == (0x0300 | versions[i].minor))
			return true;
	}
	return false;
}

static void take_debug_offsets(const struct debug_offsets *offsets, struct python_layout *ret)
{
	if (memcmp(offsets->cookie, "xdebugpy", sizeof(offsets->cookie)))
		return;
	ret->first_interpreter = offsets->first_interpreter;
	ret->interpreter_size = offsets->interpreter_size;
	ret->next_interpreter = offsets->next_interpreter;
	ret->first_state = offsets->first_state;
}

/* Returns the address of the dictionary of a module that is loaded already, or 0. */
static uintptr_t dictionary_of(const char *name)
{
	PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), name);

	return module ? (uintptr_t)PyModule_GetDict(module) : 0;
}

static bool describe_python(struct python_layout *ret)
{
	const char *runtime = dlsym(RTLD_DEFAULT, "_PyRuntime");

	if (!runtime || !find_version(ret))
		return false;
	take_debug_offsets((const struct debug_offsets *)runtime, ret);
	ret->first_interpreter += (uintptr_t)runtime;
	ret->code_type = (uintptr_t)dlsym(RTLD_DEFAULT, "PyCode_Type");
	ret->text_type = (uintptr_t)&PyUnicode_Type;
	ret->bytes_type = (uintptr_t)&PyBytes_Type;
	ret->tuple_type = (uintptr_t)&PyTuple_Type;
	ret->dictionaries[0] = (uintptr_t)PyImport_GetModuleDict();
	ret->dictionaries[1] = dictionary_of("sys");
	ret->dictionaries[2] = dictionary_of("builtins");
	return ret->interpreter_size;
}

static bool holds(const struct python_stacks *stacks, const void *object)
{
	uintptr_t start = (uintptr_t)object;

	for (size_t i = 0; i < stacks->count; i++)
		if (stacks->rows[i].start <= start && start < stacks->rows[i].end)
			return true;
	return false;
}

/* Whether the code that calls this was found, with all that a reader prints of it. */
static bool holds_caller(const struct python_stacks *stacks)
{
	static const char *const parts[] = {"co_filename", "co_name", "co_qualname", "co_linetable"};
	PyFrameObject *frame = PyEval_GetFrame();
	PyObject *code = frame ? (PyObject *)PyFrame_GetCode(frame) : NULL;
	bool found = code && holds(stacks, code);

	for (size_t i = 0; found && i < sizeof(parts) / sizeof(*parts); i++) {
		PyObject *part = PyObject_GetAttrString(code, parts[i]);

		found = part && holds(stacks, part);
		Py_XDECREF(part);
	}
	PyErr_Clear();
	Py_XDECREF(code);
	return found;
}

static bool can_find_caller(void)
{
	struct python_stacks stacks;
	struct peek peek;
	bool found = false;

	if (clone_peek_open(&peek))
		return false;
	if (!clone_find_python_stacks(&peek, &stacks)) {
		found = holds_caller(&stacks);
		clone_forget_python_stacks(&stacks);
	}
	close(peek.reader);
	close(peek.writer);
	return found;
}

bool find_python(void)
{
	struct python_layout layout;

	if (!python_stacks_are_known() && describe_python(&layout)) {
		python_stacks_know(&layout);
		if (!can_find_caller())
			python_stacks_know(&(struct python_layout){.first_interpreter = 0});
	}
	return python_stacks_are_known();
}

const char native_find_python_doc[] = PyDoc_STR(
"find_python($module, /)\n--\n\n"
"Find out how the contents \"stacks\" and \"triage\" find the Python stacks.\n\n"
"Returns False where this interpreter is not built as its version is known to be.");

PyObject *native_find_python(PyObject *module, PyObject *args)
{
	(void)module;
	(void)args;
	return PyBool_FromLong(find_python());
}
