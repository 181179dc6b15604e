/* SPDX-License-Identifier: Apache-2.0 */
/* The Python face of tracer.c, for the table of module.c. */
#ifndef GENCORE_MODULE_TRACER_H
#define GENCORE_MODULE_TRACER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern const char native_trace_doc[];

extern const char native_reap_left_clones_doc[];

PyObject *native_trace(PyObject *module, PyObject *args);
PyObject *native_reap_left_clones(PyObject *module, PyObject *pid);

#endif
