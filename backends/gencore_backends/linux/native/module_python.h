/* SPDX-License-Identifier: Apache-2.0 */
/* Finds out where this interpreter keeps its threads and frames, for the table of module.c. */
#ifndef GENCORE_MODULE_PYTHON_H
#define GENCORE_MODULE_PYTHON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* As find_python() of the module. Called with the GIL. */
bool find_python(void);

extern const char native_find_python_doc[];

PyObject *native_find_python(PyObject *module, PyObject *args);

#endif
