/* SPDX-License-Identifier: Apache-2.0 */
/* The Python face of triggers.c: for module.c's table of methods. */
#ifndef GENCORE_MODULE_TRIGGERS_H
#define GENCORE_MODULE_TRIGGERS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern const char native_set_triggers_doc[];
PyObject *native_set_triggers(PyObject *module, PyObject *args);

extern const char native_new_beat_doc[];
PyObject *native_new_beat(PyObject *module, PyObject *ignored);

extern const char native_beat_doc[];
PyObject *native_beat(PyObject *module, PyObject *args);

extern const char native_suspend_beat_doc[];
PyObject *native_suspend_beat(PyObject *module, PyObject *args);

extern const char native_ask_for_dump_doc[];
PyObject *native_ask_for_dump(PyObject *module, PyObject *args);

#endif
