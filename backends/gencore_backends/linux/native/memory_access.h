/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at memory of this process that may be gone or protected, without a fault. */
#ifndef GENCORE_MEMORY_ACCESS_H
#define GENCORE_MEMORY_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the eight bytes around an address can be read, or written. Changes nothing. */
bool memory_is_readable(uintptr_t address);
bool memory_is_writable(uintptr_t address);

/* Copy *size* bytes, each of which is looked at first. Returns 0, or -1 if one cannot be read. */
int memory_read(uintptr_t address, void *ret, size_t size);

#endif
