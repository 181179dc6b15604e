// SPDX-License-Identifier: Apache-2.0
/*
 * Runs in the clone; the contract of after_fork.c holds for every function here.
 * Formats: Documentation/admin-guide/mm/pagemap.rst.
 */
#define _GNU_SOURCE
#include "page_map.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory_map.h"

enum { ROWS = 8192 };

/* Bits of an entry of /proc/PID/pagemap. */
#define ENTRY_PRESENT (1ull << 63)
#define ENTRY_SWAPPED (1ull << 62)
#define ENTRY_FILE (1ull << 61)
#define ENTRY_GUARD (1ull << 58) /* Linux 6.15 */

static const uint64_t there = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;

int clone_page_map_open(struct page_map *ret)
{
	*ret = (struct page_map){
		.fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap",
				   O_RDONLY | O_CLOEXEC, 0),
		.source = PAGES_BY_SCAN,
		.returned = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_FILE | PAGE_IS_GUARD,
		.page = getauxval(AT_PAGESZ),
		.rows = clone_memory(ROWS * sizeof(*ret->rows)),
		.entries = clone_memory(ROWS * sizeof(*ret->entries)),
	};
	return ret->rows && ret->entries ? 0 : -1;
}

struct page_walk clone_walk_pages(struct page_map *pages, uintptr_t start, uintptr_t end)
{
	return (struct page_walk){.pages = pages, .at = start, .end = end};
}

/*
 * Returns 0 with the next rows, if any, or -1 where the kernel cannot do it.
 *
 * What it calls walk_end is not where it ended: it gathers 512 rows at a time, and leaves the end of
 * the last but one time if nothing was left over at the last (do_pagemap_scan in fs/proc/task_mmu.c).
 * But it stops early only where there is no more room for rows.
 */
static int clone_scan(struct page_walk *walk)
{
	struct page_map *pages = walk->pages;
	struct pm_scan_arg scan = {.size = sizeof(scan),
				   .start = walk->at,
				   .end = walk->end,
				   .vec = (uintptr_t)pages->rows,
				   .vec_len = ROWS,
				   .category_anyof_mask = there,
				   .return_mask = pages->returned};
	long count = syscall(SYS_ioctl, pages->fd, PAGEMAP_SCAN, &scan);

	if (count < 0 && errno == EINVAL && pages->returned & PAGE_IS_GUARD) {
		pages->returned &= ~(uint64_t)PAGE_IS_GUARD; /* before Linux 6.16 */
		return clone_scan(walk);
	}
	if (count < 0)
		return -1;
	pages->knows_guards = pages->returned & PAGE_IS_GUARD;
	walk->count = (size_t)count;
	walk->at = count < ROWS ? walk->end : (uintptr_t)pages->rows[ROWS - 1].end;
	return 0;
}

static uint64_t categories_of(uint64_t entry)
{
	return (entry & ENTRY_PRESENT ? PAGE_IS_PRESENT : 0) |
	       (entry & ENTRY_SWAPPED ? PAGE_IS_SWAPPED : 0) |
	       (entry & ENTRY_FILE ? PAGE_IS_FILE : 0) | (entry & ENTRY_GUARD ? PAGE_IS_GUARD : 0);
}

static void clone_add_page(struct page_walk *walk, uintptr_t address, uint64_t categories)
{
	struct page_region *behind = walk->pages->rows + walk->count;

	if (!(categories & there))
		return;
	if (walk->count && behind[-1].end == address && behind[-1].categories == categories) {
		behind[-1].end += walk->pages->page;
		return;
	}
	*behind = (struct page_region){address, address + walk->pages->page, categories};
	walk->count++;
}

/* Returns 0 with the next rows, if any, or -1 where the file cannot be read. */
static int clone_read_entries(struct page_walk *walk)
{
	struct page_map *pages = walk->pages;
	size_t count = (walk->end - walk->at) / pages->page;
	long size;

	count = count < ROWS ? count : ROWS;
	size = syscall(SYS_pread64, pages->fd, pages->entries, count * 8, walk->at / pages->page * 8);
	if (size < 8)
		return -1;
	for (long i = 0; i < size / 8; i++, walk->at += pages->page)
		clone_add_page(walk, walk->at, categories_of(pages->entries[i]));
	return 0;
}

static void clone_assume_all(struct page_walk *walk)
{
	walk->pages->rows[0] = (struct page_region){walk->at, walk->end, PAGE_IS_SWAPPED};
	walk->count = 1;
	walk->at = walk->end;
}

static void clone_get_rows(struct page_walk *walk)
{
	struct page_map *pages = walk->pages;

	walk->next = walk->count = 0;
	if (pages->source == PAGES_BY_SCAN && clone_scan(walk))
		pages->source = PAGES_BY_ENTRY;
	if (pages->source == PAGES_BY_ENTRY && clone_read_entries(walk))
		pages->source = PAGES_UNKNOWN;
	if (pages->source == PAGES_UNKNOWN)
		clone_assume_all(walk);
}

bool clone_next_pages(struct page_walk *walk, struct page_region *ret)
{
	while (walk->next == walk->count) {
		if (walk->at >= walk->end)
			return false;
		clone_get_rows(walk);
	}
	*ret = walk->pages->rows[walk->next++];
	return true;
}
