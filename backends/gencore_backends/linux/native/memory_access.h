/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at memory of this process that may not be there, or be gone at any moment: another thread
 * ends and takes its stack with it.
 */
#ifndef GENCORE_MEMORY_ACCESS_H
#define GENCORE_MEMORY_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the eight bytes around an address can be read, or written. Changes nothing. */
bool memory_is_readable(uintptr_t address);
bool memory_is_writable(uintptr_t address);

/*
 * Between these two, memory_read() of the calling thread does not fault whatever the others do.
 * memory_open() returns 0, or -1 with errno set for want of a descriptor.
 */
int memory_open(void);
void memory_close(void);

/*
 * Copy *size* bytes. Returns 0, or -1 if they are not there. Outside memory_open() it is for what
 * only the calling thread frees: each page is looked at before it is loaded. Between the two calls
 * it reads pages without PROT_READ as well.
 */
int memory_read(uintptr_t address, void *ret, size_t size);

#endif
