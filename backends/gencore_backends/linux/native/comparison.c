// SPDX-License-Identifier: Apache-2.0
/* Runs in the clone; the contract of after_fork.c holds for every function here. */
#define _GNU_SOURCE
#include "comparison.h"

#include <string.h>

#include "proc_text.h"

/* Mappings of one kind. */
struct sum {
	uint64_t count;
	uint64_t bytes;
};

/* Bytes between two addresses that the clone has not mapped. */
static uint64_t clone_bytes_missing(const struct memory_map *map, uintptr_t start, uintptr_t end)
{
	uint64_t missing = 0;

	for (size_t i = clone_mapping_behind(map, start); start < end; i++) {
		uintptr_t next = i < map->count ? map->mappings[i].start : end;

		if (next > start)
			missing += (next < end ? next : end) - start;
		start = i < map->count ? map->mappings[i].end : end;
	}
	return missing;
}

/* What nobody wants in the core is not missed there. */
static bool clone_is_wanted(const struct clone *clone, const struct mapping *mapping)
{
	const struct ranges *excluded = &clone->order.excluded;
	size_t first = clone_first_behind(excluded, mapping->start);
	bool wiped = first < excluded->count && excluded->rows[first].start <= mapping->start &&
		     excluded->rows[first].end >= mapping->end;

	return !wiped && !mapping->input_output &&
	       (!mapping->excluded || clone->order.with_dontdump);
}

static void clone_add_to(struct sum *sum, uint64_t bytes)
{
	sum->count += bytes != 0;
	sum->bytes += bytes;
}

static void clone_report_sum(const struct clone *clone, enum message_kind kind,
			     const struct sum *sum)
{
	if (sum->count)
		clone_tell_parent(clone->image->status_fd, kind, sum->count, sum->bytes);
}

/* ----------------------------------------------------------------------- the parent's own map */

/* By the thread that asked for the dump: where the first one has ended, /proc/PID has no map. */
static bool clone_open_parent(const struct clone *clone, const char *name, struct lines *lines)
{
	pid_t caller = clone->image->threads.threads[0].tid;
	char path[80];
	char *end = append_decimal(append_text(path, "/proc/"), (uint64_t)clone->image->pid);
	char *task = append_decimal(append_text(end, "/task/"), (uint64_t)caller);

	*append_text(append_text(task, "/"), name) = '\0';
	if (!clone_open_lines(path, lines))
		return true;
	*append_text(append_text(end, "/"), name) = '\0';
	return clone_open_lines(path, lines) == 0;
}

/* Whether the parent has memory that the clone has not: perhaps only since the clone was made. */
static bool clone_is_anything_missing(const struct clone *clone, struct lines *lines)
{
	struct mapping mapping;
	const char *line;
	bool missing = false;

	if (!clone_open_parent(clone, "maps", lines))
		return false;
	while ((line = clone_next_line(lines))) {
		bool special = !strcmp(clone_parse_mapping(line, &mapping), "[vsyscall]");

		if (!missing && !special)
			missing = clone_bytes_missing(&clone->map, mapping.start, mapping.end);
	}
	return missing;
}

static struct sum clone_not_inherited(const struct clone *clone, struct lines *lines)
{
	struct sum sum = {0};
	struct mapping mapping = {0};
	const char *line;

	if (!clone_open_parent(clone, "smaps", lines))
		return sum;
	while ((line = clone_next_line(lines))) {
		if (!is_detail(line)) {
			clone_parse_mapping(line, &mapping);
			continue;
		}
		clone_parse_detail(line, &mapping);
		if (mapping.not_inherited && clone_is_wanted(clone, &mapping))
			clone_add_to(&sum, clone_bytes_missing(&clone->map, mapping.start,
							       mapping.end));
	}
	return sum;
}

/* ------------------------------------------------------------------------------------- reports */

static struct sum clone_wiped(const struct clone *clone)
{
	struct sum sum = {0};

	for (size_t i = 0; i < clone->map.count; i++) {
		const struct mapping *mapping = &clone->map.mappings[i];

		if (mapping->wiped && clone_is_wanted(clone, mapping))
			clone_add_to(&sum, mapping->end - mapping->start);
	}
	return sum;
}

bool clone_has_all(const struct image *image)
{
	return image->mapped && image->mapped == mapped_pages();
}

void clone_compare_maps(const struct clone *clone, bool has_all)
{
	static struct lines lines;
	struct sum missing = {0}, wiped;

	if (is_limited(clone->order.content))
		return; /* it would not be in the core anyway */
	/* Its smaps take the kernel a walk through all pages, in which the parent has to wait. */
	if (!has_all && clone_is_anything_missing(clone, &lines))
		missing = clone_not_inherited(clone, &lines);
	wiped = clone_wiped(clone);
	clone_report_sum(clone, MESSAGE_NOT_INHERITED, &missing);
	clone_report_sum(clone, MESSAGE_WIPED, &wiped);
}
