/* SPDX-License-Identifier: Apache-2.0 */
/* The Python face of huge_pages.c, for the table of module.c. */
#ifndef GENCORE_MODULE_HUGE_PAGES_H
#define GENCORE_MODULE_HUGE_PAGES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern const char native_collapse_doc[];

PyObject *native_collapse(PyObject *module, PyObject *args);

#endif
