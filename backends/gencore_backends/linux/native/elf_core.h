/* SPDX-License-Identifier: Apache-2.0 */
/* Writes an ELF core of the clone's memory. */
#ifndef GENCORE_ELF_CORE_H
#define GENCORE_ELF_CORE_H

#include "memory_map.h"
#include "notes.h"
#include "snapshot.h"

/*
 * Runs in the clone. Write the whole core to the order's descriptor, in one forward pass, after
 * MESSAGE_SIZE. Returns 0, or -1 with *failure filled in.
 */
int clone_write_core(struct clone *clone, const struct notes *notes, struct step_failure *failure);

/* Runs in the clone. Write all bytes. Returns 0, or -1 with errno set. */
int clone_write_all(int fd, const void *data, size_t size);

#endif
