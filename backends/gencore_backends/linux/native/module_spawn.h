/* SPDX-License-Identifier: Apache-2.0 */
/* The Python face of spawn.c, for the table of module.c. */
#ifndef GENCORE_MODULE_SPAWN_H
#define GENCORE_MODULE_SPAWN_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern const char native_spawn_doc[];

PyObject *native_spawn(PyObject *module, PyObject *args);

extern const char native_spawn_with_message_doc[];

PyObject *native_spawn_with_message(PyObject *module, PyObject *args);

/* The strings of a list of bytes, which keeps them; NULL with an exception set. Free it with PyMem_Free. */
char **strings_of(PyObject *list);

#endif
