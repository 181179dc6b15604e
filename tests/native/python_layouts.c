// SPDX-License-Identifier: Apache-2.0
/* Prints where a Python's own headers put what gencore.analysis reads: "NAME OFFSET" rows. */
#define Py_BUILD_CORE
#include <Python.h>

#include <stddef.h>
#include <stdio.h>

#include "internal/pycore_code.h"
#include "internal/pycore_dict.h"
#include "internal/pycore_frame.h"
#include "internal/pycore_gc.h"
#include "internal/pycore_interp.h"
#if PY_MINOR_VERSION == 11
#include "structmember.h"
#endif
#if PY_MINOR_VERSION >= 12
#include "internal/pycore_obmalloc.h"
#endif
#include "internal/pycore_runtime.h"
#if PY_MINOR_VERSION >= 14
#include "internal/pycore_debug_offsets.h"
#include "internal/pycore_interpframe.h"
#endif
#if PY_MINOR_VERSION >= 13
#include "internal/pycore_tstate.h"
#endif

#if PY_MINOR_VERSION == 11
#define PY_DIGITS ob_digit
#else
#define PY_DIGITS long_value.ob_digit
#endif

#define SHOW(name, value) printf("%s %zu\n", name, (size_t)(value))
#define SHOW_NUMBER(name, value) printf("%s %d\n", name, (int)(value))
#define AT(name, type, field) SHOW(name, offsetof(type, field))
#define SAID(name, field) SHOW("said " name, offsetof(_Py_DebugOffsets, field))

static void show_runtime(void)
{
	AT("first_interpreter", _PyRuntimeState, interpreters.head);
	AT("next_interpreter", PyInterpreterState, next);
	AT("id_of_interpreter", PyInterpreterState, id);
#if PY_MINOR_VERSION == 11
	AT("modules_of_interpreter", PyInterpreterState, modules);
	AT("first_thread", PyInterpreterState, threads.head);
	AT("gil_holder", _PyRuntimeState, ceval.gil.last_holder);
	AT("gil_locked", _PyRuntimeState, ceval.gil.locked);
#else
	AT("modules_of_interpreter", PyInterpreterState, imports.modules);
	AT("first_thread", PyInterpreterState, threads.head);
	AT("gil", PyInterpreterState, ceval.gil);
	AT("gil_holder", struct _gil_runtime_state, last_holder);
	AT("gil_locked", struct _gil_runtime_state, locked);
#endif
	AT("collecting_of_interpreter", PyInterpreterState, gc.collecting);
#if PY_MINOR_VERSION >= 13
	AT("loop_of_thread", _PyThreadStateImpl, asyncio_running_loop);
#endif
#if PY_MINOR_VERSION >= 14
	AT("tasks_of_thread", _PyThreadStateImpl, asyncio_tasks_head);
	AT("tasks_of_interpreter", PyInterpreterState, asyncio_tasks_head);
#endif
	AT("dict_of_thread", PyThreadState, dict);
	AT("next_thread", PyThreadState, next);
	AT("interpreter_of_thread", PyThreadState, interp);
	AT("native_id", PyThreadState, native_thread_id);
#if PY_MINOR_VERSION <= 12
	AT("frame_of_thread", PyThreadState, cframe);
	AT("frame_of_c_frame", _PyCFrame, current_frame);
#else
	AT("frame_of_thread", PyThreadState, current_frame);
#endif
}

static void show_frames(void)
{
	AT("previous_frame", struct _PyInterpreterFrame, previous);
	AT("owner_of_frame", struct _PyInterpreterFrame, owner);
	AT("locals_of_frame", struct _PyInterpreterFrame, localsplus);
#if PY_MINOR_VERSION <= 12
	AT("code_of_frame", struct _PyInterpreterFrame, f_code);
	AT("instruction_of_frame", struct _PyInterpreterFrame, prev_instr);
#else
	AT("code_of_frame", struct _PyInterpreterFrame, f_executable);
	AT("instruction_of_frame", struct _PyInterpreterFrame, instr_ptr);
#endif
#if PY_MINOR_VERSION <= 13
	AT("top_of_frame", struct _PyInterpreterFrame, stacktop);
#else
	AT("top_of_frame", struct _PyInterpreterFrame, stackpointer);
#endif
	AT("frame_of_frame_object", PyFrameObject, f_frame);
	SHOW_NUMBER("created_state", FRAME_CREATED);
#if PY_MINOR_VERSION >= 13
	SHOW_NUMBER("awaiting_state", FRAME_SUSPENDED_YIELD_FROM);
#endif
	SHOW_NUMBER("executing_state", FRAME_EXECUTING);
	AT("file_of_code", PyCodeObject, co_filename);
	AT("name_of_code", PyCodeObject, co_name);
	AT("qualified_name_of_code", PyCodeObject, co_qualname);
	AT("lines_of_code", PyCodeObject, co_linetable);
	AT("handlers_of_code", PyCodeObject, co_exceptiontable);
	AT("names_of_code", PyCodeObject, co_names);
	AT("first_line_of_code", PyCodeObject, co_firstlineno);
	AT("slots_of_code", PyCodeObject, co_nlocalsplus);
	AT("stack_of_code", PyCodeObject, co_stacksize);
	AT("instructions_of_code", PyCodeObject, co_code_adaptive);
	AT("slot_names_of_code", PyCodeObject, co_localsplusnames);
	AT("slot_kinds_of_code", PyCodeObject, co_localspluskinds);
	AT("flags_of_code", PyCodeObject, co_flags);
	AT("arguments_of_code", PyCodeObject, co_argcount);
	AT("keyword_arguments_of_code", PyCodeObject, co_kwonlyargcount);
	AT("globals_of_frame", struct _PyInterpreterFrame, f_globals);
	AT("namespace_of_frame", struct _PyInterpreterFrame, f_locals);
}

static void show_objects(void)
{
	AT("items_of_tuple", PyTupleObject, ob_item);
	SHOW("ascii_head", sizeof(PyASCIIObject));
	SHOW("text_head", sizeof(PyCompactUnicodeObject));
	AT("flags_of_type", PyTypeObject, tp_flags);
	AT("base_of_type", PyTypeObject, tp_base);
	AT("dict_of_type", PyTypeObject, tp_dict);
	AT("mro_of_type", PyTypeObject, tp_mro);
	AT("subclasses_of_type", PyTypeObject, tp_subclasses);
	AT("basic_size_of_type", PyTypeObject, tp_basicsize);
	AT("item_size_of_type", PyTypeObject, tp_itemsize);
	AT("members_of_type", PyTypeObject, tp_members);
	AT("dict_offset_of_type", PyTypeObject, tp_dictoffset);
	AT("qualified_name_of_type", PyHeapTypeObject, ht_qualname);
	AT("kind_of_member", PyMemberDef, type);
	AT("offset_of_member", PyMemberDef, offset);
	SHOW("size_of_member", sizeof(PyMemberDef));
	AT("qualified_name_of_function", PyFunctionObject, func_qualname);
	AT("function_of_method", PyMethodObject, im_func);
	AT("self_of_method", PyMethodObject, im_self);
	AT("definition_of_builtin", PyCFunctionObject, m_ml);
	AT("self_of_builtin", PyCFunctionObject, m_self);
	AT("qualified_name_of_generator", PyGenObject, gi_qualname);
	AT("arguments_of_exception", PyBaseExceptionObject, args);
	AT("content_of_cell", PyCellObject, ob_ref);
	AT("record_of_frame", PyFrameObject, f_frame);
	AT("digits_of_int", PyLongObject, PY_DIGITS);
	AT("value_of_float", PyFloatObject, ob_fval);
	AT("value_of_complex", PyComplexObject, cval);
	AT("start_of_bytearray", PyByteArrayObject, ob_start);
	AT("items_of_list", PyListObject, ob_item);
	AT("cached_keys_of_type", PyHeapTypeObject, ht_cached_keys);
	AT("keys_of_dict", PyDictObject, ma_keys);
	AT("values_of_dict", PyDictObject, ma_values);
	AT("used_of_dict", PyDictObject, ma_used);
	SHOW("gc_head", sizeof(PyGC_Head));
	AT("alloc_of_list", PyListObject, allocated);
	AT("table_of_set", PySetObject, table);
	AT("mask_of_set", PySetObject, mask);
	AT("smalltable_of_set", PySetObject, smalltable);
	AT("alloc_of_bytearray", PyByteArrayObject, ob_alloc);
	SHOW("size_of_set", sizeof(PySetObject));
	SHOW("size_of_bytearray", sizeof(PyByteArrayObject));
	AT("refcnt_of_keys", PyDictKeysObject, dk_refcnt);
	AT("log2_size_of_keys", PyDictKeysObject, dk_log2_size);
	AT("log2_bytes_of_keys", PyDictKeysObject, dk_log2_index_bytes);
	AT("kind_of_keys", PyDictKeysObject, dk_kind);
	AT("usable_of_keys", PyDictKeysObject, dk_usable);
	AT("entries_of_keys", PyDictKeysObject, dk_nentries);
	AT("indices_of_keys", PyDictKeysObject, dk_indices);
	AT("values_in_values", PyDictValues, values);
	SHOW("size_of_code", sizeof(PyCodeObject));
	AT("frame_of_generator", PyGenObject, gi_iframe);
	AT("state_of_generator", PyGenObject, gi_frame_state);
#if PY_MINOR_VERSION >= 12
	SHOW("pool", POOL_SIZE);
	SHOW("pool_head", (sizeof(struct pool_header) + 15) & ~15);
	SHOW("arena", ARENA_SIZE);
	AT("free_of_pool", struct pool_header, freeblock);
	AT("class_of_pool", struct pool_header, szidx);
	AT("next_of_pool", struct pool_header, nextoffset);
	AT("most_of_pool", struct pool_header, maxnextoffset);
#endif
}

#if PY_MINOR_VERSION >= 13
static void show_what_is_said(void)
{
	SAID("version", version);
	SAID("free_threaded", free_threaded);
	SAID("first_interpreter", runtime_state.interpreters_head);
	SAID("next_interpreter", interpreter_state.next);
	SAID("id_of_interpreter", interpreter_state.id);
	SAID("modules_of_interpreter", interpreter_state.imports_modules);
	SAID("first_thread", interpreter_state.threads_head);
	SAID("gil", interpreter_state.ceval_gil);
	SAID("gil_state", interpreter_state.gil_runtime_state);
	SAID("gil_locked", interpreter_state.gil_runtime_state_locked);
	SAID("gil_holder", interpreter_state.gil_runtime_state_holder);
	SAID("next_thread", thread_state.next);
	SAID("interpreter_of_thread", thread_state.interp);
	SAID("native_id", thread_state.native_thread_id);
	SAID("frame_of_thread", thread_state.current_frame);
	SAID("previous_frame", interpreter_frame.previous);
	SAID("owner_of_frame", interpreter_frame.owner);
	SAID("locals_of_frame", interpreter_frame.localsplus);
	SAID("code_of_frame", interpreter_frame.executable);
	SAID("instruction_of_frame", interpreter_frame.instr_ptr);
	SAID("file_of_code", code_object.filename);
	SAID("name_of_code", code_object.name);
	SAID("qualified_name_of_code", code_object.qualname);
	SAID("lines_of_code", code_object.linetable);
	SAID("first_line_of_code", code_object.firstlineno);
	SAID("instructions_of_code", code_object.co_code_adaptive);
#if PY_MINOR_VERSION >= 14
	SAID("top_of_frame", interpreter_frame.stackpointer);
	SAID("frame_of_generator", gen_object.gi_iframe);
	SAID("state_of_generator", gen_object.gi_frame_state);
#endif
}
#endif

int main(void)
{
	show_runtime();
	show_frames();
	show_objects();
#if PY_MINOR_VERSION >= 13
	show_what_is_said();
#endif
	return 0;
}
