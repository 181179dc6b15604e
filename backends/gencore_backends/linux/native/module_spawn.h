/* SPDX-License-Identifier: Apache-2.0 */
/* The Python face of spawn.c, for the table of module.c. */
#ifndef GENCORE_MODULE_SPAWN_H
#define GENCORE_MODULE_SPAWN_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "spawn.h"

extern const char native_spawn_doc[];

PyObject *native_spawn(PyObject *module, PyObject *args);

extern const char native_open_channel_doc[];
extern const char native_send_message_doc[];
extern const char native_inherited_doc[];
extern const char native_may_look_at_doc[];

PyObject *native_open_channel(PyObject *module, PyObject *args);
PyObject *native_send_message(PyObject *module, PyObject *args);
PyObject *native_inherited(PyObject *module, PyObject *args);
PyObject *native_may_look_at(PyObject *module, PyObject *pidfd);

/*
 * Fill in an order from a program as for spawn(), which must stay; then, even if that fails,
 * release it. Returns 0, or -1 with an exception set.
 */
int parse_program(PyObject *program, struct spawn_order *ret);
void release_program(struct spawn_order *order);

/*
 * This process's variables but for those of some names, and others behind them: lists of bytes,
 * which must stay. NULL with an exception set. Free it with PyMem_Free.
 */
char **parse_environment(PyObject *left_out, PyObject *added);

/* The strings of a list of bytes, which keeps them; NULL with an exception set. Free it with PyMem_Free. */
char **strings_of(PyObject *list);

#endif
