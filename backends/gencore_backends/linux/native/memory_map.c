// SPDX-License-Identifier: Apache-2.0
/* Runs in the child; the contract of after_fork.c holds for every function here. */
#define _GNU_SOURCE
#include "memory_map.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc_text.h"

enum {
	LINE = 8192,		/* a path has 4,096 bytes at most */
	PAGEMAP_ENTRIES = 8192,
	MAX_OWN = 16,
	MAX_STACK = 8 << 20,	/* the kernel joins neighbours: a stack's mapping may go on */
	MAX_BSS = 2 << 20,
	MAX_DATA = 4 << 20,
	GAP = 1 << 20,		/* bytes of absent memory that are worth a segment of their own */
};

/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_FILE (1ull << 61)

static uintptr_t own_starts[MAX_OWN];
static int own_count;

/*
 * Shared, so that the kernel never joins it with a mapping of the image: each has an inode of its
 * own, and a line of its own in the map.
 */
void *own_memory(size_t size)
{
	long address = syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (address == -1 || own_count == MAX_OWN)
		return NULL;
	syscall(SYS_madvise, address, size, MADV_DONTDUMP); /* for a core that the kernel writes */
	own_starts[own_count++] = (uintptr_t)address;
	return (void *)address;
}

static bool is_own(uintptr_t start)
{
	for (int i = 0; i < own_count; i++)
		if (own_starts[i] == start)
			return true;
	return false;
}

/* ---------------------------------------------------------------------------- lines of a file */

struct lines {
	int fd;
	size_t size;
	size_t position;
	char *buffer; /* 64 KiB */
	char *line;   /* LINE */
};

#define LINES_BUFFER (64 * 1024)

static int open_lines(const char *path, struct lines *lines)
{
	lines->buffer = lines->buffer ? lines->buffer : own_memory(LINES_BUFFER + LINE);
	if (!lines->buffer)
		return -1;
	lines->line = lines->buffer + LINES_BUFFER;
	lines->size = lines->position = 0;
	lines->fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	return lines->fd < 0 ? -1 : 0;
}

static int next_byte(struct lines *lines)
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

/* The next line without its end, or NULL behind the last one, with the file closed. */
static const char *next_line(struct lines *lines)
{
	size_t length = 0;
	int byte;

	while ((byte = next_byte(lines)) >= 0 && byte != '\n')
		if (length < LINE - 1)
			lines->line[length++] = (char)byte;
	lines->line[length] = '\0';
	if (byte >= 0)
		return lines->line;
	syscall(SYS_close, lines->fd);
	return NULL;
}

/* ------------------------------------------------------------------------------- one mapping */

static void skip_spaces(const char **at)
{
	while (**at == ' ')
		(*at)++;
}

static void skip_field(const char **at)
{
	while (**at && **at != ' ')
		(*at)++;
	skip_spaces(at);
}

static uint32_t parse_permissions(const char *text)
{
	return (text[0] == 'r' ? PF_R : 0) | (text[1] == 'w' ? PF_W : 0) |
	       (text[2] == 'x' ? PF_X : 0);
}

/* Names come with newlines as "\012" (fs/proc/task_mmu.c). */
static uint32_t keep_name(struct memory_map *map, const char *name)
{
	uint32_t begin = (uint32_t)map->names_size;

	if (!*name)
		return 0;
	while (*name) {
		bool newline = !strncmp(name, "\\012", 4);

		map->names[map->names_size++] = newline ? '\n' : *name;
		name += newline ? 4 : 1;
	}
	map->names[map->names_size++] = '\0';
	return begin;
}

/* "START-END rwxp OFFSET MAJOR:MINOR INODE    NAME" */
static void parse_mapping(struct memory_map *map, const char *line, struct mapping *ret)
{
	*ret = (struct mapping){.start = parse_hex(&line)};
	line++;
	ret->end = parse_hex(&line);
	skip_spaces(&line);
	ret->flags = parse_permissions(line);
	ret->shared = line[3] == 's';
	skip_field(&line);
	ret->file_offset = parse_hex(&line);
	skip_spaces(&line);
	skip_field(&line);
	ret->file = parse_decimal(&line) != 0;
	skip_spaces(&line);
	ret->name = keep_name(map, line);
}

static bool has_flag(const char *flags, const char *flag)
{
	for (; *flags; flags++)
		if (flags[0] == ' ' && flags[1] == flag[0] && flags[2] == flag[1])
			return true;
	return false;
}

static void parse_detail(const char *line, struct mapping *mapping)
{
	bool resident = !strncmp(line, "Rss:", 4);

	if (resident || !strncmp(line, "Swap:", 5) || !strncmp(line, "Private_Hugetlb:", 16)) {
		skip_field(&line);
		mapping->resident_kb += parse_decimal(&line);
	} else if (!strncmp(line, "VmFlags:", 8)) {
		mapping->device = has_flag(line, "io") || has_flag(line, "pf");
		mapping->excluded = has_flag(line, "dd") && !mapping->device;
		mapping->huge = has_flag(line, "ht");
	}
}

/* ---------------------------------------------------------------------------------- segments */

static const char *name_of(const struct memory_map *map, const struct mapping *mapping)
{
	return map->names + mapping->name;
}

static void add_segment(struct memory_map *map, const struct mapping *mapping, uintptr_t start,
			uintptr_t end, bool written)
{
	struct segment *last = map->segments + map->segment_count - 1;

	if (start == end)
		return;
	if (map->segment_count == map->segment_capacity) { /* rather one that is too large */
		last->size = last->file_size = end - last->start;
		return;
	}
	map->segments[map->segment_count++] = (struct segment){
		.start = start,
		.size = end - start,
		.file_size = written ? end - start : 0,
		.flags = mapping->flags,
		.sparse = written && !mapping->file && !mapping->huge,
	};
}

/* Which pages of a mapping a core takes in. */
enum wanted { WANT_PRESENT, WANT_PRIVATE, WANT_KEPT };

struct page_walk {
	int pagemap;
	const struct image *image;
	enum wanted wanted;
	uintptr_t stack;     /* WANT_KEPT: from here on, the mapping is threads' stacks, */
	uintptr_t stack_end; /* up to here */
	uintptr_t bss_end;   /* and below this it is the data of a library */
	uint64_t *entries;   /* PAGEMAP_ENTRIES */
	size_t page;
};

/* Whether one of the rows, which are in order, touches a piece of memory. */
static bool overlaps(const struct ranges *ranges, uintptr_t start, uintptr_t end)
{
	size_t low = 0;
	size_t high = ranges->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (ranges->rows[middle].end <= start)
			low = middle + 1;
		else
			high = middle;
	}
	return low < ranges->count && ranges->rows[low].start < end;
}

static bool is_wanted(const struct page_walk *walk, uintptr_t address, uint64_t entry)
{
	if (walk->wanted == WANT_KEPT && address < walk->bss_end)
		return true;
	if (!(entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)))
		return false;
	if (walk->wanted == WANT_KEPT)
		return (address + walk->page > walk->stack && address < walk->stack_end) ||
		       overlaps(&walk->image->order->kept, address, address + walk->page);
	return walk->wanted == WANT_PRESENT || !(entry & PAGEMAP_FILE);
}

/* Entries of the pages from *address* on, at most until *end*. Unreadable: take everything. */
static size_t read_pagemap(const struct page_walk *walk, uintptr_t address, uintptr_t end)
{
	size_t count = (end - address) / walk->page;
	long size;

	count = count < PAGEMAP_ENTRIES ? count : PAGEMAP_ENTRIES;
	size = syscall(SYS_pread64, walk->pagemap, walk->entries, count * 8,
		       address / walk->page * 8);
	if (size > 0)
		return (size_t)size / 8;
	for (size_t i = 0; i < count; i++)
		walk->entries[i] = PAGEMAP_PRESENT;
	return count;
}

/*
 * Split a mapping into what is written and what is not. Gaps shorter than *gap* are written: a
 * program header costs more than they do.
 */
static void add_runs(struct memory_map *map, const struct mapping *mapping,
		     const struct page_walk *walk, size_t gap, bool first_page)
{
	uintptr_t run = mapping->start; /* of what is written, up to the last wanted page */
	uintptr_t run_end = first_page ? run + walk->page : run;
	uintptr_t address = mapping->start;

	while (address < mapping->end) {
		size_t count = read_pagemap(walk, address, mapping->end);

		for (size_t i = 0; i < count; i++, address += walk->page) {
			if (!is_wanted(walk, address, walk->entries[i]))
				continue;
			if (address - run_end >= gap) {
				add_segment(map, mapping, run, run_end, true);
				add_segment(map, mapping, run_end, address, false);
				run = address;
			}
			run_end = address + walk->page;
		}
	}
	add_segment(map, mapping, run, run_end, true);
	add_segment(map, mapping, run_end, mapping->end, false);
}

static bool is_elf(const struct mapping *mapping)
{
	char magic[SELFMAG] = {0};
	int fds[2];
	bool elf = false;

	/* Through a pipe, because the file may have been truncated: no SIGBUS in a system call. */
	if (mapping->file_offset || !(mapping->flags & PF_R) || syscall(SYS_pipe2, fds, O_CLOEXEC))
		return false;
	if (syscall(SYS_write, fds[1], mapping->start, SELFMAG) == SELFMAG)
		elf = syscall(SYS_read, fds[0], magic, SELFMAG) == SELFMAG &&
		      !memcmp(magic, ELFMAG, SELFMAG);
	syscall(SYS_close, fds[0]);
	syscall(SYS_close, fds[1]);
	return elf;
}

/* Find the stacks in a mapping: from the lowest stack pointer to a bound above the highest. */
static void find_stacks(const struct mapping *mapping, struct page_walk *walk)
{
	walk->stack = mapping->end;
	walk->stack_end = 0;
	for (uint32_t i = 0; i < walk->image->threads.count; i++) {
		uintptr_t sp = stack_pointer_of(walk->image, i);

		if (sp < mapping->start || sp >= mapping->end)
			continue;
		if (sp < walk->stack)
			walk->stack = sp;
		if (sp + MAX_STACK > walk->stack_end)
			walk->stack_end = sp + MAX_STACK;
	}
}

/* Anonymous memory of a core that is only to show stacks. */
static void add_stack_segments(struct memory_map *map, const struct mapping *mapping,
			       struct page_walk *walk)
{
	const struct mapping *before = mapping > map->mappings ? mapping - 1 : NULL;
	bool is_bss = before && before->file && before->end == mapping->start;

	walk->wanted = WANT_KEPT;
	walk->bss_end = is_bss ? mapping->start + MAX_BSS : 0;
	find_stacks(mapping, walk);
	/* Readers take static structures in one piece, with the pages nobody has touched. */
	add_runs(map, mapping, walk, is_bss ? GAP : walk->page, false);
}

/*
 * The data of a program or library. It is small, and readers take structures from it in one piece,
 * whether or not the process has changed each of their pages.
 */
static bool is_data(const struct mapping *mapping)
{
	return mapping->flags & PF_W && !mapping->shared &&
	       mapping->end - mapping->start <= MAX_DATA;
}

/* The rules are those of vma_dump_size() in the kernel's fs/coredump.c, with filter 0xFF. */
static void add_segments(struct memory_map *map, const struct mapping *mapping,
			 struct page_walk *walk)
{
	const struct snapshot_order *order = walk->image->order;
	bool excluded = mapping->excluded && !order->with_dontdump;
	bool absent = !mapping->file && !mapping->resident_kb;
	bool special = !strcmp(name_of(map, mapping), "[vdso]"); /* its pages count as absent */

	if (mapping->device || excluded || (absent && !special)) {
		add_segment(map, mapping, mapping->start, mapping->end, false);
	} else if (!mapping->file && !special && order->content == CONTENT_STACKS) {
		add_stack_segments(map, mapping, walk);
	} else if (!mapping->file && !special) {
		walk->wanted = WANT_PRESENT;
		add_runs(map, mapping, walk, GAP, false);
	} else if (mapping->file && order->content != CONTENT_FULL && !is_data(mapping)) {
		walk->wanted = WANT_PRIVATE;
		add_runs(map, mapping, walk, walk->page, is_elf(mapping));
	} else {
		add_segment(map, mapping, mapping->start, mapping->end, true);
	}
}

/* ----------------------------------------------------------------------------------- the map */

/* Count the mappings and the bytes of their lines, to know how much memory the map needs. */
static int measure(struct lines *lines, size_t *count, size_t *bytes)
{
	const char *line;

	if (open_lines("/proc/self/maps", lines))
		return -1;
	for (*count = *bytes = 0; (line = next_line(lines)); (*count)++)
		*bytes += strlen(line) + 1;
	return 0;
}

static int get_memory(struct memory_map *map, size_t count, size_t bytes)
{
	*map = (struct memory_map){.segment_capacity = 4 * count};
	map->mappings = own_memory(count * sizeof(*map->mappings));
	map->segments = own_memory(map->segment_capacity * sizeof(*map->segments));
	map->names = own_memory(bytes + LINE);
	map->names_size = 1; /* "" */
	return map->mappings && map->segments && map->names ? 0 : -1;
}

static int read_mappings(struct lines *lines, struct memory_map *map, size_t capacity)
{
	struct mapping *mapping = NULL;
	const char *line;

	if (open_lines("/proc/self/smaps", lines))
		return -1;
	while ((line = next_line(lines))) {
		bool details = line[0] >= 'A' && line[0] <= 'Z';

		if (details && mapping)
			parse_detail(line, mapping);
		if (details || map->count == capacity)
			continue;
		mapping = &map->mappings[map->count];
		parse_mapping(map, line, mapping);
		if (is_own(mapping->start) || !strcmp(name_of(map, mapping), "[vsyscall]"))
			mapping = NULL;
		else
			map->count++;
	}
	return 0;
}

int memory_map_read(const struct image *image, struct memory_map *ret)
{
	struct lines lines = {0};
	struct page_walk walk = {.page = getauxval(AT_PAGESZ), .image = image};
	size_t count, bytes;

	walk.entries = own_memory(PAGEMAP_ENTRIES * sizeof(*walk.entries));
	if (!walk.entries || measure(&lines, &count, &bytes))
		return -1;
	count += MAX_OWN;
	if (get_memory(ret, count, bytes) || read_mappings(&lines, ret, count))
		return -1;
	walk.pagemap =
		(int)syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
	for (size_t i = 0; i < ret->count; i++)
		add_segments(ret, &ret->mappings[i], &walk);
	syscall(SYS_close, walk.pagemap);
	return 0;
}

const struct mapping *memory_map_find(const struct memory_map *map, uintptr_t address)
{
	size_t low = 0;
	size_t high = map->count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct mapping *mapping = &map->mappings[middle];

		if (address < mapping->start)
			high = middle;
		else if (address >= mapping->end)
			low = middle + 1;
		else
			return mapping;
	}
	return NULL;
}

static void wipe(const struct mapping *mapping, uintptr_t start, uintptr_t end)
{
	if (!(mapping->flags & PF_W) || !(mapping->flags & PF_R))
		syscall(SYS_mprotect, mapping->start, mapping->end - mapping->start,
			PROT_READ | PROT_WRITE);
	memset((void *)start, 0, end - start);
}

void memory_map_wipe(const struct memory_map *map, const struct ranges *excluded)
{
	for (size_t i = 0; i < excluded->count; i++) {
		uintptr_t at = excluded->rows[i].start;
		uintptr_t end = excluded->rows[i].end;
		const struct mapping *mapping;

		for (; at < end && (mapping = memory_map_find(map, at)); at = mapping->end) {
			uintptr_t stop = mapping->end < end ? mapping->end : end;

			if (!mapping->shared && !mapping->device)
				wipe(mapping, at, stop);
		}
	}
}
