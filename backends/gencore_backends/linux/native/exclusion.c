// SPDX-License-Identifier: Apache-2.0
/*
 * Runs in the clone; the contract of after_fork.c holds for every function here.
 *
 * Private memory is this process's own, and overwritten. Shared memory is the parent's too: the
 * clone covers the pages with new ones, into which it copies all but what is excluded.
 */
#define _GNU_SOURCE
#include "exclusion.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc_text.h"

struct exclusion {
	struct clone *clone;
	char *rest; /* what is beside the excluded bytes on their first and last page */
	size_t rest_size;
	bool map_changed;
};

static struct range clone_common(const struct mapping *mapping, struct range range)
{
	return (struct range){
		.start = range.start > mapping->start ? range.start : mapping->start,
		.end = range.end < mapping->end ? range.end : mapping->end,
	};
}

/* ---------------------------------------------------------------------------- private memory */

/* A page that cannot be overwritten is as good as wiped if it cannot be read either. */
static int clone_zero_pages(const struct clone *clone, struct range range)
{
	size_t page = clone->pages.page;

	while (range.start < range.end) {
		size_t size = page - range.start % page;

		size = size < range.end - range.start ? size : range.end - range.start;
		if (clone_zero(&clone->peek, range.start, size) &&
		    (errno != EFAULT || clone_can_read(&clone->peek, range.start, size)))
			return -1;
		range.start += size;
	}
	return 0;
}

static int clone_wipe_private(const struct clone *clone, const struct mapping *mapping,
			      struct range range)
{
	size_t page = clone->pages.page;
	uintptr_t first = (range.start + page - 1) & ~(page - 1);
	uintptr_t last = range.end & ~(page - 1);

	if (clone_allow(mapping, PF_R | PF_W))
		return -1;
	if (first >= last || !is_anonymous(mapping) ||
	    syscall(SYS_madvise, first, last - first, MADV_DONTNEED))
		return clone_zero_pages(clone, range);
	return clone_zero_pages(clone, (struct range){range.start, first}) ||
			       clone_zero_pages(clone, (struct range){last, range.end})
		       ? -1
		       : 0;
}

/* ----------------------------------------------------------------------------- shared memory */

static int clone_make_room(struct exclusion *exclusion, size_t size)
{
	if (exclusion->rest_size >= size)
		return 0;
	clone_free(exclusion->rest, exclusion->rest_size);
	exclusion->rest = clone_memory(size);
	exclusion->rest_size = exclusion->rest ? size : 0;
	return exclusion->rest ? 0 : -1;
}

static int clone_cover(struct exclusion *exclusion, const struct mapping *mapping,
		       struct range range)
{
	const struct peek *peek = &exclusion->clone->peek;
	uintptr_t unit = mapping->page_size ? mapping->page_size : exclusion->clone->pages.page;
	uintptr_t first = range.start & ~(unit - 1);
	uintptr_t last = (range.end + unit - 1) & ~(unit - 1);
	size_t before = range.start - first;
	size_t behind = last - range.end;

	if (clone_allow(mapping, PF_R) || clone_make_room(exclusion, 2 * unit))
		return -1;
	before = clone_peek(peek, exclusion->rest, first, before);
	behind = clone_peek(peek, exclusion->rest + unit, range.end, behind);
	if (syscall(SYS_mmap, first, last - first, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == -1)
		return -1;
	memcpy((void *)first, exclusion->rest, before);
	memcpy((void *)range.end, exclusion->rest + unit, behind);
	exclusion->map_changed = true;
	return 0;
}

/* -------------------------------------------------------------------------- where it is mapped */

static int clone_wipe(struct exclusion *exclusion, const struct mapping *mapping,
		      struct range range)
{
	range = clone_common(mapping, range);
	if (range.start >= range.end || mapping->input_output)
		return 0;
	if (mapping->shared)
		return clone_cover(exclusion, mapping, range);
	return clone_wipe_private(exclusion->clone, mapping, range);
}

/* The same bytes of the same object, in every mapping of it. */
static int clone_wipe_object(struct exclusion *exclusion, const struct mapping *excluded,
			     struct range range)
{
	const struct memory_map *map = &exclusion->clone->map;
	uint64_t first, last; /* bytes of the object */

	range = clone_common(excluded, range);
	first = excluded->file_offset + (range.start - excluded->start);
	last = first + (range.end - range.start);
	for (size_t i = 0; i < map->count; i++) {
		const struct mapping *mapping = &map->mappings[i];
		uint64_t begin = mapping->file_offset;
		uint64_t end = begin + (mapping->end - mapping->start);

		begin = begin > first ? begin : first;
		end = end < last ? end : last;
		if (begin >= end || mapping->inode != excluded->inode ||
		    mapping->device != excluded->device)
			continue;
		range.start = mapping->start + (begin - mapping->file_offset);
		range.end = range.start + (end - begin);
		if (clone_wipe(exclusion, mapping, range))
			return -1;
	}
	return 0;
}

static int clone_wipe_range(struct exclusion *exclusion, struct range range)
{
	const struct memory_map *map = &exclusion->clone->map;

	for (size_t i = 0; i < map->count; i++) {
		const struct mapping *mapping = &map->mappings[i];

		if (mapping->end <= range.start || mapping->start >= range.end)
			continue;
		if (mapping->inode ? clone_wipe_object(exclusion, mapping, range)
				   : clone_wipe(exclusion, mapping, range))
			return -1;
	}
	return 0;
}

/* --------------------------------------------------------------------- arguments, environment */

enum { ARG_START = 48, ENV_END = 51 }; /* fields of /proc/PID/stat, see proc(5) */

/* Where the process says that both are, which prctl(2), PR_SET_MM, may have changed. */
static struct range clone_arguments_by_name(void)
{
	struct range found = {0, 0};
	char text[1024];
	long length = read_file(AT_FDCWD, "/proc/self/stat", text, sizeof(text) - 1);
	const char *at = text + (length > 0 ? length : 0);

	text[length > 0 ? length : 0] = '\0';
	while (at > text && at[-1] != ')')
		at--;
	for (int field = 2; *at && field <= ENV_END; field++) {
		if (field == ARG_START)
			found.start = parse_decimal(&at);
		else if (field == ENV_END)
			found.end = parse_decimal(&at);
		while (*at && *at != ' ')
			at++;
		at += *at == ' ';
	}
	return found;
}

/* Where the kernel has put both: create_elf_tables() in fs/binfmt_elf.c, and bprm_execve(). */
static struct range clone_arguments_by_place(void)
{
	uintptr_t random = getauxval(AT_RANDOM);

	return (struct range){random ? random + 16 : 0, getauxval(AT_EXECFN)};
}

static int clone_wipe_arguments(struct exclusion *exclusion)
{
	const struct range places[] = {clone_arguments_by_name(), clone_arguments_by_place()};

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		const struct mapping *mapping =
			clone_find_mapping(&exclusion->clone->map, places[i].start);

		if (mapping && places[i].start < places[i].end && places[i].end <= mapping->end &&
		    clone_wipe(exclusion, mapping, places[i]))
			return -1;
	}
	return 0;
}

/* ---------------------------------------------------------------------------------- all of it */

int clone_exclude(struct clone *clone)
{
	struct exclusion exclusion = {.clone = clone};
	const struct ranges *excluded = &clone->order.excluded;

	for (size_t i = 0; i < excluded->count; i++)
		if (clone_wipe_range(&exclusion, excluded->rows[i]))
			return -1;
	if (is_limited(clone->order.content) && clone_wipe_arguments(&exclusion))
		return -1;
	return exclusion.map_changed ? clone_read_map(&clone->map) : 0;
}
