// SPDX-License-Identifier: Apache-2.0
/* Runs in the clone; the contract of after_fork.c holds for every function here. */
#define _GNU_SOURCE
#include "memory_map.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel_abi.h"
#include "proc_text.h"

enum {
	LINE = 8192, /* a path has 4,096 bytes at most */
	LINES_BUFFER = 64 * 1024,
	MAX_OWN = 64,
	LEAST_ROWS = 4096,
};

static uintptr_t own_starts[MAX_OWN];
static int own_count;

/*
 * Shared, so that the kernel never joins it with a mapping of the image: each has an inode of its
 * own, and a line of its own in the map.
 */
void *clone_memory(size_t size)
{
	long address;

	if (own_count == MAX_OWN) {
		errno = ENOMEM;
		return NULL;
	}
	address = syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);
	if (address == -1)
		return NULL;
	syscall(SYS_madvise, address, size, MADV_DONTDUMP); /* for a core that the kernel writes */
	own_starts[own_count++] = (uintptr_t)address;
	return (void *)address;
}

static int clone_own_index(uintptr_t start)
{
	for (int i = 0; i < own_count; i++)
		if (own_starts[i] == start)
			return i;
	return -1;
}

void clone_free(void *memory, size_t size)
{
	int index = clone_own_index((uintptr_t)memory);

	if (index < 0)
		return;
	syscall(SYS_munmap, memory, size);
	own_starts[index] = own_starts[--own_count];
}

void *clone_grow(void *rows, size_t count, size_t *capacity, size_t size)
{
	size_t larger = rows ? 2 * *capacity : LEAST_ROWS;
	void *grown = clone_memory(larger * size);

	if (!grown)
		return NULL;
	if (rows) {
		memcpy(grown, rows, count * size);
		clone_free(rows, *capacity * size);
	}
	*capacity = larger;
	return grown;
}

/* ---------------------------------------------------------------------------- lines of a file */

int clone_open_lines(const char *path, struct lines *lines)
{
	lines->buffer = lines->buffer ? lines->buffer : clone_memory(LINES_BUFFER + LINE);
	if (!lines->buffer)
		return -1;
	lines->line = lines->buffer + LINES_BUFFER;
	lines->size = lines->position = 0;
	lines->fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	return lines->fd < 0 ? -1 : 0;
}

static int clone_next_byte(struct lines *lines)
{
	if (lines->position == lines->size) {
		long size = syscall(SYS_read, lines->fd, lines->buffer, LINES_BUFFER);

		if (size <= 0)
			return -1;
		lines->size = (size_t)size;
		lines->position = 0;
	}
	return (unsigned char)lines->buffer[lines->position++];
}

const char *clone_next_line(struct lines *lines)
{
	size_t length = 0;
	int byte;

	while ((byte = clone_next_byte(lines)) >= 0 && byte != '\n')
		if (length < LINE - 1)
			lines->line[length++] = (char)byte;
	lines->line[length] = '\0';
	if (byte >= 0)
		return lines->line;
	syscall(SYS_close, lines->fd);
	return NULL;
}

/* ------------------------------------------------------------------------------- one mapping */

static void clone_skip_spaces(const char **at)
{
	while (**at == ' ')
		(*at)++;
}

static void clone_skip_field(const char **at)
{
	while (**at && **at != ' ')
		(*at)++;
	clone_skip_spaces(at);
}

static uint32_t permissions_of(const char *text)
{
	return (text[0] == 'r' ? (uint32_t)PF_R : 0) | (text[1] == 'w' ? (uint32_t)PF_W : 0) |
	       (text[2] == 'x' ? (uint32_t)PF_X : 0);
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text);
	size_t end_length = strlen(end);

	return length >= end_length && !strcmp(text + length - end_length, end);
}

/* "START-END rwxp OFFSET MAJOR:MINOR INODE    NAME" */
const char *clone_parse_mapping(const char *line, struct mapping *ret)
{
	*ret = (struct mapping){.start = parse_hex(&line)};
	line++;
	ret->end = parse_hex(&line);
	clone_skip_spaces(&line);
	ret->flags = permissions_of(line);
	ret->shared = line[3] == 's';
	clone_skip_field(&line);
	ret->file_offset = parse_hex(&line);
	clone_skip_spaces(&line);
	ret->device = parse_hex(&line) << 32;
	line++;
	ret->device |= parse_hex(&line);
	clone_skip_spaces(&line);
	ret->inode = parse_decimal(&line);
	clone_skip_spaces(&line);
	ret->deleted = ret->inode && ends_with(line, " (deleted)");
	return line;
}

static bool has_flag(const char *flags, const char *flag)
{
	for (; *flags; flags++)
		if (flags[0] == ' ' && flags[1] == flag[0] && flags[2] == flag[1])
			return true;
	return false;
}

static void clone_parse_flags(const char *flags, struct mapping *mapping)
{
	mapping->input_output = has_flag(flags, "io") || has_flag(flags, "pf");
	mapping->excluded = has_flag(flags, "dd") && !mapping->input_output;
	mapping->wiped = has_flag(flags, "wf");
	mapping->not_inherited = has_flag(flags, "dc");
	mapping->huge = has_flag(flags, "ht");
}

static uint64_t clone_value_of(const char *line)
{
	clone_skip_field(&line);
	return parse_decimal(&line);
}

static bool begins_with(const char *line, const char *key)
{
	return !strncmp(line, key, strlen(key));
}

void clone_parse_detail(const char *line, struct mapping *mapping)
{
	if (begins_with(line, "Rss:") || begins_with(line, "Private_Hugetlb:") ||
	    begins_with(line, "Shared_Hugetlb:")) {
		mapping->resident_kb += clone_value_of(line);
	} else if (begins_with(line, "Swap:")) {
		mapping->swapped_kb = clone_value_of(line);
		mapping->resident_kb += mapping->swapped_kb;
	} else if (begins_with(line, "KernelPageSize:")) {
		mapping->page_size = clone_value_of(line) * 1024;
	} else if (begins_with(line, "ProtectionKey:")) {
		mapping->has_key = clone_value_of(line) != 0;
	} else if (begins_with(line, "VmFlags:")) {
		clone_parse_flags(line, mapping);
	}
}

/* ----------------------------------------------------------------------------------- the map */

/* Count the mappings and the bytes of their lines, to know how much memory the map needs. */
static int clone_measure(struct lines *lines, size_t *count, size_t *bytes)
{
	const char *line;

	if (clone_open_lines("/proc/self/maps", lines))
		return -1;
	for (*count = *bytes = 0; (line = clone_next_line(lines)); (*count)++)
		*bytes += strlen(line) + 1;
	*count += MAX_OWN;
	*bytes += LINE;
	return 0;
}

static int clone_get_memory(struct memory_map *map, size_t count, size_t bytes)
{
	*map = (struct memory_map){.names_size = 1}; /* "" */
	map->mappings = clone_memory(count * sizeof(*map->mappings));
	map->names = clone_memory(bytes);
	return map->mappings && map->names ? 0 : -1;
}

/* Names come with newlines as "\012" (fs/proc/task_mmu.c). */
static uint32_t clone_keep_name(struct memory_map *map, const char *name)
{
	uint32_t begin = (uint32_t)map->names_size;

	if (!*name)
		return 0;
	while (*name) {
		bool newline = begins_with(name, "\\012");

		map->names[map->names_size++] = newline ? '\n' : *name;
		name += newline ? 4 : 1;
	}
	map->names[map->names_size++] = '\0';
	return begin;
}

static struct mapping *clone_add_mapping(struct memory_map *map, const char *line)
{
	struct mapping *mapping = &map->mappings[map->count];
	const char *name = clone_parse_mapping(line, mapping);

	if (clone_own_index(mapping->start) >= 0) {
		map->shared_device = mapping->device;
		return NULL;
	}
	if (!strcmp(name, "[vsyscall]"))
		return NULL;
	mapping->name = clone_keep_name(map, name);
	map->count++;
	return mapping;
}

static int clone_read_mappings(struct lines *lines, struct memory_map *map, size_t capacity)
{
	struct mapping *mapping = NULL;
	const char *line;

	if (clone_open_lines("/proc/self/smaps", lines))
		return -1;
	while ((line = clone_next_line(lines))) {
		if (!is_detail(line))
			mapping = map->count < capacity ? clone_add_mapping(map, line) : NULL;
		else if (mapping)
			clone_parse_detail(line, mapping);
	}
	return 0;
}

int clone_read_map(struct memory_map *ret)
{
	static struct lines lines;
	size_t count, bytes;

	if (clone_measure(&lines, &count, &bytes) || clone_get_memory(ret, count, bytes))
		return -1;
	return clone_read_mappings(&lines, ret, count);
}

/* The first of *count* rows, in order of address, whose end is behind one. */
static size_t clone_search(const void *rows, size_t count, size_t row_size, size_t end_at,
			   uintptr_t address)
{
	size_t low = 0;
	size_t high = count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const char *end = (const char *)rows + middle * row_size + end_at;

		if (*(const uintptr_t *)end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t clone_mapping_behind(const struct memory_map *map, uintptr_t address)
{
	return clone_search(map->mappings, map->count, sizeof(*map->mappings),
			    offsetof(struct mapping, end), address);
}

struct mapping *clone_find_mapping(const struct memory_map *map, uintptr_t address)
{
	size_t index = clone_mapping_behind(map, address);
	bool found = index < map->count && map->mappings[index].start <= address;

	return found ? &map->mappings[index] : NULL;
}

int clone_allow(const struct mapping *mapping, uint32_t access)
{
	uint32_t flags = mapping->flags | access;
	int protection = (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) |
			 (flags & PF_X ? PROT_EXEC : 0);
	size_t size = mapping->end - mapping->start;

	if (mapping->has_key)
		return (int)syscall(SYS_pkey_mprotect, mapping->start, size, protection, 0);
	if (flags == mapping->flags)
		return 0;
	return (int)syscall(SYS_mprotect, mapping->start, size, protection);
}

/* ------------------------------------------------------------------------------------- ranges */

size_t clone_first_behind(const struct ranges *ranges, uintptr_t address)
{
	return clone_search(ranges->rows, ranges->count, sizeof(*ranges->rows),
			    offsetof(struct range, end), address);
}

bool clone_overlaps(const struct ranges *ranges, uintptr_t start, uintptr_t end)
{
	size_t first = clone_first_behind(ranges, start);

	return first < ranges->count && ranges->rows[first].start < end;
}

/* ------------------------------------------------------------------------------- the beginning */

/* Into the clone's own memory: where they lie now may be wiped. Those that overlap become one. */
static int clone_copy_ranges(struct ranges *ranges)
{
	struct range *rows;
	size_t count = 0;

	if (!ranges->count)
		return 0;
	rows = clone_memory(ranges->count * sizeof(*rows));
	if (!rows)
		return -1;
	for (size_t i = 0; i < ranges->count; i++) {
		const struct range *row = &ranges->rows[i];

		if (!count || rows[count - 1].end < row->start)
			rows[count++] = *row;
		else if (rows[count - 1].end < row->end)
			rows[count - 1].end = row->end;
	}
	*ranges = (struct ranges){rows, count};
	return 0;
}

int clone_prepare(struct clone *clone, const struct image *image)
{
	*clone = (struct clone){.image = image,
				.order = *image->order,
				.losses = {.status_fd = image->status_fd}};
	if (clone_peek_open(&clone->peek) || clone_page_map_open(&clone->pages))
		return -1;
	return clone_copy_ranges(&clone->order.excluded);
}
