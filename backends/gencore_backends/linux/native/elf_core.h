/* SPDX-License-Identifier: Apache-2.0 */
/* Writes an ELF core of the snapshot's memory. */
#ifndef GENCORE_ELF_CORE_H
#define GENCORE_ELF_CORE_H

#include "memory_map.h"
#include "notes.h"
#include "snapshot.h"

/*
 * Runs in the child. Write the whole core to the order's descriptor, in one forward pass, after
 * MESSAGE_SIZE. Returns 0, or -1 with *failure filled in.
 */
int elf_core_write(const struct image *image, const struct memory_map *map,
		   const struct notes *notes, struct step_failure *failure);

/* Runs in the child. Write all bytes. Returns 0, or -1 with errno set. */
int write_all(int fd, const void *data, size_t size);

/* Runs in the child. Send a message to the parent. */
void tell_parent(int status_fd, enum message_kind kind, uint64_t first, uint64_t second);

#endif
