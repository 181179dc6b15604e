/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image's memory, looked at and wiped through a pipe: where a load or store would end the
 * clone (guard pages, pages beyond the end of a file, protection keys), the system call returns
 * EFAULT. A pipe needs no privilege, and no system call that seccomp profiles refuse.
 */
#ifndef GENCORE_PEEK_H
#define GENCORE_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peek {
	int reader;
	int writer;
};

/* All of this runs in the clone. */

/* Returns 0, or -1 with errno set. */
int clone_peek_open(struct peek *ret);

/* Copy memory. Returns the bytes before the first one that cannot be read. */
size_t clone_peek(const struct peek *peek, void *to, uintptr_t from, size_t size);

/* Whether all of it can be read. */
bool clone_can_read(const struct peek *peek, uintptr_t from, size_t size);

/* Overwrite memory with zeros. Returns 0, or -1 with errno set, EFAULT where it cannot be written. */
int clone_zero(const struct peek *peek, uintptr_t at, size_t size);

#endif
