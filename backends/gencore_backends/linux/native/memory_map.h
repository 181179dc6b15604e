/* SPDX-License-Identifier: Apache-2.0 */
/* What is mapped into the clone, and what it works with to look at that. */
#ifndef GENCORE_MEMORY_MAP_H
#define GENCORE_MEMORY_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "page_map.h"
#include "peek.h"
#include "snapshot.h"
#include "status.h"

/* One line of /proc/PID/smaps with what is behind it, see proc(5). */
struct mapping {
	uintptr_t start;
	uintptr_t end;
	uint64_t file_offset;
	uint64_t device;
	uint64_t inode;	      /* 0: no file, and private */
	uint32_t name;	      /* position in the map's names; a mapping without one has "" */
	uint32_t flags;	      /* PF_R, PF_W, PF_X */
	bool shared;	      /* with the parent: must not be changed */
	bool deleted;	      /* its file has no name any more, or never had one */
	bool input_output;    /* VM_IO or VM_PFNMAP: reading it may have effects, or fail */
	bool excluded;	      /* MADV_DONTDUMP */
	bool wiped;	      /* MADV_WIPEONFORK */
	bool not_inherited;   /* MADV_DONTFORK */
	bool huge;	      /* hugetlb */
	bool has_key;	      /* of pkeys(7), other than that of ordinary memory */
	bool readable;	      /* the clone may read it, as far as protection goes */
	uint64_t page_size;
	uint64_t resident_kb; /* in memory or swapped out */
	uint64_t swapped_kb;
};

struct memory_map {
	struct mapping *mappings;
	size_t count;
	char *names;
	size_t names_size;
	uint64_t shared_device; /* of shared anonymous memory, memfd_create(2) and shmget(2) */
};

/* What the clone works with. */
struct clone {
	const struct image *image;
	struct snapshot_order order; /* with its ranges in the clone's own memory */
	struct peek peek;
	struct page_map pages;
	struct memory_map map;
	struct ranges kept; /* of a limited content: what is written besides the stacks, to the byte */
	struct losses losses;
};

/* Lines of a file of any size. */
struct lines {
	int fd;
	size_t size;
	size_t position;
	char *buffer;
	char *line;
};

/* All of this runs in the clone. */

/* Memory of the clone's own, which is no part of the image. NULL with errno set. */
void *clone_memory(size_t size);

/* Give memory back. */
void clone_free(void *memory, size_t size);

/*
 * Move *count* rows of so many bytes each to memory for twice as many as *capacity*, and give theirs
 * back; begin where *rows* is NULL. NULL with errno set, and the rows where they were.
 */
void *clone_grow(void *rows, size_t count, size_t *capacity, size_t size);

/* Returns 0, or -1 with errno set. */
int clone_open_lines(const char *path, struct lines *lines);

/* The next line without its end, or NULL behind the last one, with the file closed. */
const char *clone_next_line(struct lines *lines);

/* Whether a line is one of those behind a mapping's own. */
static inline bool is_detail(const char *line)
{
	return line[0] >= 'A' && line[0] <= 'Z';
}

/* The mapping of a line of /proc/PID/maps; returns its name. */
const char *clone_parse_mapping(const char *line, struct mapping *ret);

/* Add what a line of /proc/PID/smaps says of a mapping. */
void clone_parse_detail(const char *line, struct mapping *mapping);

/* Get everything ready but the map. Returns 0, or -1 with errno set. */
int clone_prepare(struct clone *clone, const struct image *image);

/* Read the map, again if need be. Returns 0, or -1 with errno set. */
int clone_read_map(struct memory_map *ret);

/* The index of the first mapping that ends behind an address. */
size_t clone_mapping_behind(const struct memory_map *map, uintptr_t address);

/* The mapping that holds an address, or NULL. */
struct mapping *clone_find_mapping(const struct memory_map *map, uintptr_t address);

/* Whether one of the rows, which are in order, touches a piece of memory. */
bool clone_overlaps(const struct ranges *ranges, uintptr_t start, uintptr_t end);

/* The first of the rows, which are in order, that ends behind an address. */
size_t clone_first_behind(const struct ranges *ranges, uintptr_t address);

/* Let the clone have PF_R, PF_W, whatever protection and key say. 0, or -1 with errno set. */
int clone_allow(const struct mapping *mapping, uint32_t access);

static inline const char *name_of(const struct memory_map *map, const struct mapping *mapping)
{
	return map->names + mapping->name;
}

/* Private memory without a file, of ordinary pages. */
static inline bool is_anonymous(const struct mapping *mapping)
{
	return !mapping->inode && !mapping->huge;
}

#endif
