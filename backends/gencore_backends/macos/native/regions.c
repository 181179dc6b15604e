// SPDX-License-Identifier: Apache-2.0
/*
 * The walk, and which regions are written, follow coredump() in XNU's bsd/kern/kern_core.c: into
 * the submaps, so that the dyld shared cache is in the core too; no region that can never be read,
 * and none of IOKit's.
 */
#include <errno.h>
#include <mach/mach.h>
#include <mach/vm_map.h>
#include <mach/vm_statistics.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "regions.h"

struct region {
	vm_address_t start;
	vm_size_t size;
	natural_t depth;
	struct vm_region_submap_info_64 info;
};

/* Go to the region behind this one, or to the first. Returns 0 where there is no more. */
static int next_region(struct region *region)
{
	region->start += region->size;
	for (;;) {
		mach_msg_type_number_t count = VM_REGION_SUBMAP_INFO_COUNT_64;

		if (vm_region_recurse_64(mach_task_self(), &region->start, &region->size,
					 &region->depth, (vm_region_recurse_info_t)&region->info,
					 &count) != KERN_SUCCESS)
			return 0;
		if (!region->info.is_submap)
			return 1;
		region->depth++;
	}
}

static int is_dumped(const struct region *region)
{
	return (region->info.max_protection & VM_PROT_READ) &&
	       region->info.user_tag != VM_MEMORY_IOKIT;
}

struct memory_size regions_measure(void)
{
	struct memory_size ret = {0, 0};
	struct region region = {0};

	while (next_region(&region)) {
		ret.address_space += region.size;
		if (is_dumped(&region))
			ret.core += region.size;
	}
	return ret;
}

/* ---------------------------------------------------------------------------- what is kept out */

enum {
	LARGEST_PAGE = 16 * 1024, /* of arm64 */
	PIECE = 4096,		  /* that a pipe has room for */
};

/* Copy memory by way of a pipe: what cannot be read stays zero, and is no signal. */
static void copy(const int *pipe_fds, char *to, uintptr_t from, size_t size)
{
	for (size_t done = 0, piece; done < size; done += piece) {
		piece = size - done < PIECE ? size - done : PIECE;
		if (write(pipe_fds[1], (const void *)(from + done), piece) == (ssize_t)piece)
			(void)!read(pipe_fds[0], to + done, piece);
	}
}

/*
 * Memory that the child shares with its parent must stay as it is: the child covers the pages with
 * new ones, into which it copies what is beside the excluded bytes.
 */
static int cover(uintptr_t start, uintptr_t end)
{
	static char edges[2][LARGEST_PAGE];
	uintptr_t page = (uintptr_t)getpagesize();
	uintptr_t first = start & ~(page - 1), last = (end + page - 1) & ~(page - 1);
	int pipe_fds[2];

	if (pipe(pipe_fds))
		return -1;
	memset(edges, 0, sizeof(edges));
	copy(pipe_fds, edges[0], first, start - first);
	copy(pipe_fds, edges[1], end, last - end);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	if (mmap((void *)first, last - first, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANON | MAP_FIXED, -1, 0) == MAP_FAILED)
		return -1;
	memcpy((void *)first, edges[0], start - first);
	memcpy((void *)end, edges[1], last - end);
	return 0;
}

/* Keep out what a region has of a piece of memory. */
static int wipe(const struct region *region, uintptr_t start, uintptr_t end)
{
	uintptr_t region_end = region->start + region->size;

	start = region->start > start ? region->start : start;
	end = region_end < end ? region_end : end;
	if (start >= end)
		return 0;
	if (region->info.inheritance == VM_INHERIT_SHARE)
		return cover(start, end);
	if ((~region->info.protection & (VM_PROT_READ | VM_PROT_WRITE)) &&
	    mprotect((void *)region->start, region->size, PROT_READ | PROT_WRITE))
		return -1;
	memset((void *)start, 0, end - start);
	return 0;
}

/* The same bytes of the same object, wherever that is mapped. */
static int wipe_object(const struct region *excluded, const struct range *row)
{
	uintptr_t offset = (uintptr_t)excluded->info.offset - excluded->start;
	uintptr_t excluded_end = excluded->start + excluded->size;
	uintptr_t start = excluded->start > row->start ? excluded->start : row->start;
	uintptr_t end = excluded_end < row->end ? excluded_end : row->end;
	struct region region = {0};

	while (next_region(&region)) {
		uintptr_t moved = (uintptr_t)region.start - (uintptr_t)region.info.offset + offset;

		if (region.info.object_id == excluded->info.object_id &&
		    wipe(&region, start + moved, end + moved))
			return -1;
	}
	return 0;
}

int regions_wipe(const struct ranges *excluded)
{
	struct region region = {0};

	while (excluded->count && next_region(&region))
		for (size_t i = 0; i < excluded->count; i++) {
			const struct range *row = &excluded->rows[i];
			bool shared = region.info.inheritance == VM_INHERIT_SHARE;

			if (row->start >= region.start + region.size || row->end <= region.start)
				continue;
			if (shared ? wipe_object(&region, row)
				   : wipe(&region, row->start, row->end))
				return -1;
		}
	return 0;
}

/*
 * coredumpok() of the kernel for arm64 leaves out a region for whose first page the process has no
 * page table, and after a fork it has none until it touches memory. The kernel reads the byte that
 * is written to a pipe: where it cannot, that is an error, and no signal.
 */
void regions_touch(void)
{
	struct region region = {0};
	int pipe_fds[2];
	char byte;

	if (pipe(pipe_fds))
		return;
	while (next_region(&region))
		if ((region.info.protection & VM_PROT_READ) && is_dumped(&region) &&
		    write(pipe_fds[1], (const void *)region.start, 1) == 1)
			(void)!read(pipe_fds[0], &byte, 1);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}
