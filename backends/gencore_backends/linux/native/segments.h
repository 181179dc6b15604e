/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the clone's memory a core takes in. */
#ifndef GENCORE_SEGMENTS_H
#define GENCORE_SEGMENTS_H

#include "memory_map.h"

/* One PT_LOAD: file_size is all of its size, or 0 where the core leaves it out. */
struct segment {
	uintptr_t start;
	size_t size;
	size_t file_size;
	const struct mapping *mapping;
	bool by_pages; /* private anonymous memory: what it has not is zeros */
};

struct segments {
	struct segment *rows;
	size_t count;
	size_t capacity;
};

/* Runs in the clone. Returns 0, or -1 with errno set. */
int clone_choose_segments(struct clone *clone, struct segments *ret);

#endif
