/* SPDX-License-Identifier: Apache-2.0 */
/* What a process does with its recorder, in as few turns of the GIL as possible; for module.c. */
#ifndef GENCORE_MODULE_RECORDER_H
#define GENCORE_MODULE_RECORDER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern const char native_take_packets_doc[];

PyObject *native_take_packets(PyObject *module, PyObject *socket);

extern const char native_end_clone_doc[];

PyObject *native_end_clone(PyObject *module, PyObject *args);

extern const char native_close_last_doc[];

PyObject *native_close_last(PyObject *module, PyObject *args);

extern const char native_let_go_doc[];

PyObject *native_let_go(PyObject *module, PyObject *args);

#endif
