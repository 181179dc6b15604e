/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages the clone's memory has, as the kernel's page tables know: nothing is touched. */
#ifndef GENCORE_PAGE_MAP_H
#define GENCORE_PAGE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel_abi.h"

/* How the page tables can be asked. Where they cannot, every page counts as swapped out. */
enum page_source {
	PAGES_BY_SCAN,	/* ioctl(PAGEMAP_SCAN), Linux 6.7: what is absent costs nothing */
	PAGES_BY_ENTRY, /* read(2) of /proc/PID/pagemap: eight bytes for each page */
	PAGES_UNKNOWN,
};

struct page_map {
	int fd;
	enum page_source source;
	uint64_t returned;	  /* what PAGEMAP_SCAN tells of a page; older kernels know less */
	bool knows_guards;
	size_t page;
	struct page_region *rows; /* of the walk that is under way */
	uint64_t *entries;
};

/* A walk over the pages between two addresses. There is one at a time. */
struct page_walk {
	struct page_map *pages;
	uintptr_t at;
	uintptr_t end;
	size_t next;
	size_t count;
};

/* All of this runs in the clone. */

/* Returns 0, or -1 with errno set: no memory. */
int clone_page_map_open(struct page_map *ret);

struct page_walk clone_walk_pages(struct page_map *pages, uintptr_t start, uintptr_t end);

/* The next pages of one kind that are present or swapped out, in *ret*; false if none are left. */
bool clone_next_pages(struct page_walk *walk, struct page_region *ret);

/* Whether private anonymous memory may be loaded from: what is swapped out may be a guard page. */
static inline bool is_loadable(const struct page_region *run)
{
	return (run->categories & (PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_GUARD)) ==
	       PAGE_IS_PRESENT;
}

#endif
