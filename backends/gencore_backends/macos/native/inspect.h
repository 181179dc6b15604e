/* SPDX-License-Identifier: Apache-2.0 */
/* What macOS says about this process: the functions of the module that only look. */
#ifndef GENCORE_MACOS_INSPECT_H
#define GENCORE_MACOS_INSPECT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyMethodDef inspect_methods[];

#endif
