/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshot's own memory: what is mapped, and which of it a core takes in. */
#ifndef GENCORE_MEMORY_MAP_H
#define GENCORE_MEMORY_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot.h"

/* One line of /proc/PID/smaps with what is behind it, see proc(5). */
struct mapping {
	uintptr_t start;
	uintptr_t end;
	uint64_t file_offset;
	uint32_t name; /* position in the map's names; a mapping without one has "" */
	uint32_t flags;	      /* PF_R, PF_W, PF_X */
	bool file;	      /* has an inode */
	bool device;	      /* VM_IO or VM_PFNMAP: reading it may have effects, or fail */
	bool excluded;	      /* MADV_DONTDUMP */
	bool huge;	      /* hugetlb */
	bool shared;	      /* with the parent: must not be changed */
	uint64_t resident_kb; /* in memory or swapped out */
};

/* One PT_LOAD: file_size is all of its size, or 0 where the core leaves it out. */
struct segment {
	uintptr_t start;
	size_t size;
	size_t file_size;
	uint32_t flags;
	bool sparse; /* private memory that may hold pages of zeros */
};

struct memory_map {
	struct mapping *mappings;
	size_t count;
	struct segment *segments;
	size_t segment_count;
	size_t segment_capacity;
	char *names;
	size_t names_size;
};

/* All of this runs in the child. */

/* Memory of the snapshot's own, which is no part of the image. NULL with errno set. */
void *own_memory(size_t size);

/* Read the map and decide what is written. Returns 0, or -1 with errno set. */
int memory_map_read(const struct image *image, struct memory_map *ret);

/* Overwrite what the order excludes, in this copy of the memory. */
void memory_map_wipe(const struct memory_map *map, const struct ranges *excluded);

/* The mapping that holds an address, or NULL. */
const struct mapping *memory_map_find(const struct memory_map *map, uintptr_t address);

#endif
