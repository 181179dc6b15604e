/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the code that made a system call retries it after EINTR by itself. */
#ifndef GENCORE_RETRIES_H
#define GENCORE_RETRIES_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Note where CPython's code lies: that of the object that holds *function*, and of the extension
 * modules of the standard library that are loaded. Takes the dynamic linker's lock.
 */
void retries_note_cpython(const void *function);

/*
 * Whether the thread with this stack pointer and program counter is in a system call that CPython
 * has made, which calculates the timeout anew after EINTR and calls again (PEP 475).
 */
bool retries_at(uintptr_t sp, uintptr_t pc);

#endif
