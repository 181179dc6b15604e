/* SPDX-License-Identifier: Apache-2.0 */
/* The process's own memory, region by region, as coredump() of the kernel walks it. */
#ifndef GENCORE_MACOS_REGIONS_H
#define GENCORE_MACOS_REGIONS_H

#include <stdint.h>

#include "snapshot.h"

/* Bytes that a core of this process holds, and bytes of its whole address space. */
struct memory_size {
	uint64_t core;
	uint64_t address_space;
};

struct memory_size regions_measure(void);

/* The rest runs in the child. */

/* Overwrite private memory with zeros, and cover shared memory. Returns 0, or -1 with errno set. */
int regions_wipe(const struct ranges *excluded);

/* Let this process have the first page of every region. */
void regions_touch(void);

#endif
