// SPDX-License-Identifier: Apache-2.0
/*
 * The rules are those of vma_dump_size() in the kernel's fs/coredump.c, with filter 0xFF for
 * "full" and 0x33 for "private". Runs in the clone; the contract of after_fork.c holds.
 */
#define _GNU_SOURCE
#include "segments.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	MAX_STACK = 8 << 20,	/* where the end of a stack is unknown */
	ABOVE_TLS = 16 << 10,	/* the C library's own, between a thread's TLS and its stack's end */
	RED_ZONE = 128,
	MAX_BSS = 2 << 20,
	MAX_DATA = 4 << 20,
	GAP = 1 << 20,		/* bytes of absent memory that are worth a segment of their own */
	MAX_UNTOUCHED = 16 << 20, /* bytes that are written as zeros, of one mapping */
	MAX_HEADERS = 64,	/* program headers of a library */
	RESIDENCY = 65536,	/* pages that are asked for at once */
};

struct choice {
	struct clone *clone;
	struct segments *segments;
	struct ranges stacks;
	unsigned char *residency;
	size_t page;
	bool out_of_memory;
	/* Of the mapping that is being split: */
	const struct mapping *mapping;
	bool by_pages;
	uintptr_t run; /* what is written, up to the last page that is wanted */
	uintptr_t run_end;
	size_t gap; /* shorter ones are written too: a program header costs more than they do */
};

/* ---------------------------------------------------------------------------------- segments */

/* Returns whether there is room for one more. */
static bool clone_make_room(struct segments *segments)
{
	void *rows = segments->rows;

	if (segments->count < segments->capacity)
		return true;
	rows = clone_grow(rows, segments->count, &segments->capacity, sizeof(*segments->rows));
	if (rows)
		segments->rows = rows;
	return rows;
}

static void clone_add_segment(struct choice *choice, uintptr_t start, uintptr_t end, bool written)
{
	struct segments *segments = choice->segments;

	if (start >= end)
		return;
	if (!clone_make_room(segments)) {
		choice->out_of_memory = true;
		return;
	}
	segments->rows[segments->count++] = (struct segment){
		.start = start,
		.size = end - start,
		.file_size = written ? end - start : 0,
		.mapping = choice->mapping,
		.by_pages = choice->by_pages,
	};
}

static void clone_add_whole(struct choice *choice, bool written)
{
	clone_add_segment(choice, choice->mapping->start, choice->mapping->end, written);
}

/* Begin to split the mapping; its first bytes, up to *first*, are wanted whether there or not. */
static void clone_begin_runs(struct choice *choice, size_t gap, uintptr_t first)
{
	choice->run = choice->mapping->start;
	choice->run_end = first;
	choice->gap = gap;
}

static void clone_add_run(struct choice *choice, uintptr_t start, uintptr_t end)
{
	if (end <= choice->run_end)
		return;
	if (start > choice->run_end && start - choice->run_end >= choice->gap) {
		clone_add_segment(choice, choice->run, choice->run_end, true);
		clone_add_segment(choice, choice->run_end, start, false);
		choice->run = start;
	}
	choice->run_end = end;
}

static void clone_end_runs(struct choice *choice)
{
	clone_add_segment(choice, choice->run, choice->run_end, true);
	clone_add_segment(choice, choice->run_end, choice->mapping->end, false);
}

static struct page_walk clone_walk_mapping(struct choice *choice)
{
	return clone_walk_pages(&choice->clone->pages, choice->mapping->start, choice->mapping->end);
}

/* ------------------------------------------------------------------------------------- stacks */

static uintptr_t clone_end_of_stack(uintptr_t sp, uintptr_t tls, const struct mapping *mapping)
{
	uintptr_t end = sp + MAX_STACK;

	if (tls > sp && tls < end) /* a thread's: the main thread has its TLS elsewhere */
		end = tls + ABOVE_TLS;
	return end < mapping->end ? end : mapping->end;
}

static void clone_insert(struct range *rows, size_t count, struct range row)
{
	while (count && rows[count - 1].start > row.start) {
		rows[count] = rows[count - 1];
		count--;
	}
	rows[count] = row;
}

/* From each stack pointer to its stack's end. Returns 0, or -1 with errno set. */
static int clone_find_stacks(struct choice *choice)
{
	const struct image *image = choice->clone->image;
	size_t threads = image->threads.count;
	struct range *rows = clone_memory((threads + 1) * sizeof(*rows));
	size_t count = 0, merged = 0;

	if (!rows)
		return -1;
	for (uint32_t i = 0; i < threads; i++) {
		uintptr_t sp = stack_pointer_of(image, i);
		uintptr_t tls = i ? image->threads.threads[i].tls : arch_thread_pointer();
		const struct mapping *mapping = clone_find_mapping(&choice->clone->map, sp);

		if (mapping)
			clone_insert(rows, count++,
				     (struct range){sp - RED_ZONE,
						    clone_end_of_stack(sp, tls, mapping)});
	}
	for (size_t i = 0; i < count; i++) { /* those that overlap become one */
		if (merged && rows[merged - 1].end >= rows[i].start)
			rows[merged - 1].end = rows[merged - 1].end > rows[i].end
						       ? rows[merged - 1].end
						       : rows[i].end;
		else
			rows[merged++] = rows[i];
	}
	choice->stacks = (struct ranges){rows, merged};
	return 0;
}

/* ---------------------------------------------------------------------------------- libraries */

static bool is_same_file(const struct mapping *one, const struct mapping *other)
{
	return one->inode && one->inode == other->inode && one->device == other->device;
}

/* The first mapping of the file that a mapping belongs to, from a neighbour to its neighbour. */
static const struct mapping *clone_first_of_file(const struct choice *choice,
						 const struct mapping *mapping)
{
	while (mapping > choice->clone->map.mappings && is_same_file(mapping, mapping - 1))
		mapping--;
	return mapping;
}

static bool clone_begins_elf(const struct choice *choice, const struct mapping *mapping)
{
	char magic[SELFMAG];

	return !mapping->file_offset && mapping->flags & PF_R && !mapping->input_output &&
	       clone_peek(&choice->clone->peek, magic, mapping->start, SELFMAG) == SELFMAG &&
	       !memcmp(magic, ELFMAG, SELFMAG);
}

static bool clone_is_library(const struct choice *choice, const struct mapping *mapping)
{
	return !mapping->shared && clone_begins_elf(choice, clone_first_of_file(choice, mapping));
}

/* Where the memory of the library ends that begins with a mapping, by its program headers. */
static uintptr_t clone_end_of_library(const struct choice *choice, const struct mapping *first)
{
	const struct peek *peek = &choice->clone->peek;
	Elf64_Phdr headers[MAX_HEADERS];
	Elf64_Ehdr elf;
	uintptr_t end = 0;
	size_t count;

	if (clone_peek(peek, &elf, first->start, sizeof(elf)) != sizeof(elf))
		return 0;
	count = elf.e_phnum < MAX_HEADERS ? elf.e_phnum : MAX_HEADERS;
	count = clone_peek(peek, headers, first->start + elf.e_phoff, count * sizeof(*headers)) /
		sizeof(*headers);
	for (size_t i = 0; i < count; i++) {
		uintptr_t here = headers[i].p_vaddr + headers[i].p_memsz;

		if (headers[i].p_type == PT_LOAD && here > end)
			end = here;
	}
	for (size_t i = 0; i < count; i++) /* the one that is mapped at the beginning */
		if (headers[i].p_type == PT_LOAD && !headers[i].p_offset)
			return first->start + end - headers[i].p_vaddr;
	return 0;
}

/* The end of a library's .bss, if a mapping without a file begins with that; else its start. */
static uintptr_t clone_end_of_bss(const struct choice *choice)
{
	const struct mapping *mapping = choice->mapping;
	const struct mapping *first;
	uintptr_t end;

	if (mapping == choice->clone->map.mappings || mapping[-1].end != mapping->start)
		return mapping->start;
	first = clone_first_of_file(choice, mapping - 1);
	if (!clone_is_library(choice, first))
		return mapping->start;
	end = (clone_end_of_library(choice, first) + choice->page - 1) & ~(choice->page - 1);
	end = end < mapping->start + MAX_BSS ? end : mapping->start + MAX_BSS;
	end = end < mapping->end ? end : mapping->end;
	return end > mapping->start ? end : mapping->start;
}

/* -------------------------------------------------------------------------- anonymous memory */

/* Overwrite what nobody asked for in a page of which something is kept. */
static void clone_keep_only(const struct choice *choice, uintptr_t start)
{
	const struct ranges *kept = &choice->clone->kept;
	uintptr_t end = start + choice->page;
	uintptr_t at = start;

	for (size_t i = clone_first_behind(kept, start); i < kept->count && at < end; i++) {
		const struct range *row = &kept->rows[i];
		uintptr_t stop = row->start < end ? row->start : end;

		if (stop > at)
			clone_zero(&choice->clone->peek, at, stop - at);
		at = row->end > at ? row->end : at;
	}
	if (at < end)
		clone_zero(&choice->clone->peek, at, end - at);
}

static bool clone_is_kept(const struct choice *choice, uintptr_t page)
{
	if (clone_overlaps(&choice->stacks, page, page + choice->page))
		return true;
	if (!clone_overlaps(&choice->clone->kept, page, page + choice->page))
		return false;
	if (choice->clone->order.content == CONTENT_TRIAGE)
		clone_keep_only(choice, page);
	return true;
}

/*
 * Of a core that is only to show stacks: these, what is kept, and static data, which readers take
 * in one piece, with the pages nobody has touched.
 */
static void clone_add_kept(struct choice *choice)
{
	uintptr_t bss = clone_end_of_bss(choice);
	struct page_walk walk;
	struct page_region run;

	clone_begin_runs(choice, choice->page, bss); /* no gap: what is not kept may be a secret */
	walk = clone_walk_mapping(choice);
	while (clone_next_pages(&walk, &run))
		for (uintptr_t page = run.start; page < run.end; page += choice->page)
			if (page >= bss && !(run.categories & PAGE_IS_GUARD) &&
			    clone_is_kept(choice, page))
				clone_add_run(choice, page, page + choice->page);
	clone_end_runs(choice);
}

/*
 * Whether all of a mapping is written although parts of it were never touched: they are zeros for
 * the program, and so they should be for every reader. Below a stack pointer nobody looks.
 */
static bool clone_is_worth_zeros(const struct choice *choice)
{
	const struct mapping *mapping = choice->mapping;

	return mapping->end - mapping->start <= mapping->resident_kb * 1024 + MAX_UNTOUCHED &&
	       !clone_overlaps(&choice->stacks, mapping->start, mapping->end);
}

static void clone_add_present(struct choice *choice)
{
	struct page_walk walk = clone_walk_mapping(choice);
	struct page_region run;

	clone_begin_runs(choice, GAP, choice->mapping->start);
	while (clone_next_pages(&walk, &run))
		if (!(run.categories & PAGE_IS_GUARD))
			clone_add_run(choice, run.start, run.end);
	clone_end_runs(choice);
}

/* Also hugetlb memory of its own: what it has not touched might have to be taken from others. */
static void clone_choose_private_memory(struct choice *choice)
{
	choice->by_pages = !choice->mapping->huge;
	if (!choice->mapping->resident_kb)
		clone_add_whole(choice, false);
	else if (is_limited(choice->clone->order.content))
		clone_add_kept(choice);
	else if (!choice->mapping->huge && clone_is_worth_zeros(choice))
		clone_add_whole(choice, true);
	else
		clone_add_present(choice);
}

/* -------------------------------------------------------------------------------------- files */

/* Where a file ends that may be shorter than its mapping: behind that, nothing can be read. */
static uintptr_t clone_end_of_file(const struct choice *choice)
{
	const struct peek *peek = &choice->clone->peek;
	uintptr_t there = choice->mapping->start; /* it can be read up to here */
	uintptr_t missing = choice->mapping->end;

	if (clone_can_read(peek, missing - choice->page, 1))
		return missing;
	while (missing - there > choice->page) {
		uintptr_t middle = there + (missing - there) / 2 / choice->page * choice->page;

		if (clone_can_read(peek, middle - choice->page, 1))
			there = middle;
		else
			missing = middle;
	}
	return there;
}

static void clone_add_file(struct choice *choice)
{
	uintptr_t end = clone_end_of_file(choice);

	if (end < choice->mapping->end)
		clone_add_loss(&choice->clone->losses, end, choice->mapping->end - end);
	clone_add_segment(choice, choice->mapping->start, end, true);
	clone_add_segment(choice, end, choice->mapping->end, false);
}

/* The pages of a file's mapping that the process has changed, with its first bytes up to *first*. */
static void clone_add_changed(struct choice *choice, uintptr_t first)
{
	struct page_walk walk = clone_walk_mapping(choice);
	struct page_region run;

	clone_begin_runs(choice, choice->page, first);
	while (clone_next_pages(&walk, &run))
		if (!(run.categories & (PAGE_IS_FILE | PAGE_IS_GUARD)))
			clone_add_run(choice, run.start, run.end);
	clone_end_runs(choice);
}

/*
 * Shared anonymous memory: only the pages that it has. Looking at one that it does not have would
 * give it one, for the parent too. The page tables of shared memory are not inherited, so they
 * know nothing; mincore(2) knows all but what is swapped out.
 */
static void clone_add_shared(struct choice *choice)
{
	const struct mapping *mapping = choice->mapping;
	size_t page = choice->page;

	clone_begin_runs(choice, page, mapping->start);
	for (uintptr_t at = mapping->start; at < mapping->end;) {
		size_t count = (mapping->end - at) / page;

		count = count < RESIDENCY ? count : RESIDENCY;
		if (syscall(SYS_mincore, at, count * page, choice->residency))
			memset(choice->residency, 1, count);
		for (size_t i = 0; i < count; i++, at += page)
			if (choice->residency[i] & 1)
				clone_add_run(choice, at, at + page);
	}
	clone_end_runs(choice);
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

/* A file that has lost its name cannot be packed. */
static bool is_whole_file(const struct choice *choice)
{
	return choice->clone->order.content == CONTENT_FULL || choice->mapping->deleted ||
	       is_data(choice->mapping);
}

/* Where reading a hole would fill it, in the target's own memory: only what is there is read. */
static bool is_shared_memory(const struct choice *choice)
{
	const struct mapping *mapping = choice->mapping;
	static const char posix[] = "/dev/shm/"; /* of shm_open(3) */

	return mapping->shared &&
	       (mapping->device == choice->clone->map.shared_device ||
		!strncmp(name_of(&choice->clone->map, mapping), posix, sizeof(posix) - 1));
}

static void clone_choose_file(struct choice *choice)
{
	const struct mapping *mapping = choice->mapping;
	bool elf = clone_is_library(choice, mapping);

	if (is_limited(choice->clone->order.content) && !elf)
		clone_add_whole(choice, false);
	else if (is_shared_memory(choice) && !mapping->huge && !mapping->swapped_kb)
		clone_add_shared(choice);
	else if (!(mapping->flags & (PF_R | PF_W | PF_X))) /* a gap that the linker closes off */
		clone_add_changed(choice, mapping->start);
	else if (is_whole_file(choice))
		clone_add_file(choice);
	else
		clone_add_changed(choice, clone_begins_elf(choice, mapping)
						  ? mapping->start + choice->page
						  : mapping->start);
}

/* ------------------------------------------------------------------------------------ the map */

static void clone_choose(struct choice *choice, struct mapping *mapping)
{
	bool left_out = mapping->excluded && !choice->clone->order.with_dontdump;

	choice->mapping = mapping;
	choice->by_pages = false;
	if (mapping->input_output || left_out) {
		clone_add_whole(choice, false);
		return;
	}
	mapping->readable = !clone_allow(mapping, PF_R); /* of this copy of the address space */
	if (!strcmp(name_of(&choice->clone->map, mapping), "[vdso]"))
		clone_add_whole(choice, true); /* its pages count as absent */
	else if (!mapping->inode || (mapping->huge && !mapping->shared))
		clone_choose_private_memory(choice);
	else
		clone_choose_file(choice);
}

int clone_choose_segments(struct clone *clone, struct segments *ret)
{
	struct choice choice = {.clone = clone,
				.segments = ret,
				.residency = clone_memory(RESIDENCY),
				.page = getauxval(AT_PAGESZ)};

	*ret = (struct segments){0};
	if (!choice.residency || clone_find_stacks(&choice))
		return -1;
	for (size_t i = 0; i < clone->map.count; i++)
		clone_choose(&choice, &clone->map.mappings[i]);
	errno = ENOMEM;
	return choice.out_of_memory ? -1 : 0;
}
