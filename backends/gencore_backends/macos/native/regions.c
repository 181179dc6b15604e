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

/* Memory that the child shares with its parent must stay as it is. */
static int wipe(const struct region *region, const struct range *excluded)
{
	uintptr_t start = region->start, end = region->start + region->size;

	if (region->info.inheritance == VM_INHERIT_SHARE)
		return 0;
	if ((~region->info.protection & (VM_PROT_READ | VM_PROT_WRITE)) &&
	    mprotect((void *)region->start, region->size, PROT_READ | PROT_WRITE))
		return -1;
	start = excluded->start > start ? excluded->start : start;
	end = excluded->end < end ? excluded->end : end;
	memset((void *)start, 0, end - start);
	return 0;
}

int regions_wipe(const struct ranges *excluded)
{
	struct region region = {0};

	while (excluded->count && next_region(&region))
		for (size_t i = 0; i < excluded->count; i++) {
			const struct range *row = &excluded->rows[i];

			if (row->start < region.start + region.size && row->end > region.start &&
			    wipe(&region, row))
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
