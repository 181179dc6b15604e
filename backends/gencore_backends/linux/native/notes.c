// SPDX-License-Identifier: Apache-2.0
/*
 * The notes of a core. Runs in the child; the contract of after_fork.c holds.
 *
 * Layouts: elf(5); struct elf_prstatus, elf_prpsinfo in include/linux/elfcore.h; NT_FILE in
 * fs/binfmt_elf.c. The core speaks of the parent: its ids, its threads' tids, no signal.
 */
#define _GNU_SOURCE
#include "notes.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/procfs.h>

#include "memory_map.h"
#include "proc_text.h"
#include "snapshot.h"

enum {
	AUXV_SIZE = 4096,
	SIGINFO_SIZE = 128,
	THREAD_LINE = 64,	 /* of our own note */
	FRAME_SEARCH = 64 * 1024, /* bytes above a stack pointer */
	MAX_FRAMES = 1024,
	NT_GENCORE = 0x47435231, /* "GCR1": no number that readers know under another owner */
};

static size_t padded(size_t size)
{
	return (size + 3) & ~(size_t)3;
}

void *notes_add(struct notes *notes, const char *owner, uint32_t type, size_t size)
{
	Elf64_Nhdr header = {.n_namesz = (Elf64_Word)strlen(owner) + 1,
			     .n_descsz = (Elf64_Word)size,
			     .n_type = type};
	char *at = notes->data + notes->size;
	char *data = at + sizeof(header) + padded(header.n_namesz);

	memcpy(at, &header, sizeof(header));
	memcpy(at + sizeof(header), owner, header.n_namesz);
	notes->size = (size_t)(data - notes->data) + padded(size);
	return data;
}

/* ------------------------------------------------------------------------------- the process */

static void add_prpsinfo(const struct image *image, struct notes *notes)
{
	struct elf_prpsinfo info = {0};
	char path[32];
	long length;

	info.pr_sname = 'R';
	info.pr_uid = image->uid;
	info.pr_gid = image->gid;
	info.pr_pid = image->pid;
	info.pr_ppid = image->ppid;
	info.pr_pgrp = image->pgrp;
	info.pr_sid = image->sid;
	*append_text(append_decimal(append_text(path, "/proc/"), (uint64_t)image->pid), "/comm") =
		'\0';
	length = read_file(AT_FDCWD, path, info.pr_fname, sizeof(info.pr_fname) - 1);
	if (length > 0 && info.pr_fname[length - 1] == '\n')
		info.pr_fname[length - 1] = '\0';
	length = read_file(AT_FDCWD, "/proc/self/cmdline", info.pr_psargs,
			   sizeof(info.pr_psargs) - 1);
	for (long i = 0; i < length - 1; i++)
		if (!info.pr_psargs[i])
			info.pr_psargs[i] = ' ';
	memcpy(notes_add(notes, "CORE", NT_PRPSINFO, sizeof(info)), &info, sizeof(info));
}

/* The size is known only after reading: the note is made as large as it can be, then shrunk. */
static void add_auxv(struct notes *notes)
{
	size_t before = notes->size;
	char *data = notes_add(notes, "CORE", NT_AUXV, AUXV_SIZE);
	long length = read_file(AT_FDCWD, "/proc/self/auxv", data, AUXV_SIZE);

	memset(notes->data + before, 0, (size_t)(data - notes->data) - before);
	notes->size = before;
	if (length > 0)
		notes_add(notes, "CORE", NT_AUXV, (size_t)length);
}

static bool in_file_note(const struct memory_map *map, const struct mapping *mapping)
{
	return mapping->file && map->names[mapping->name];
}

/* What a note holds is aligned to four bytes only. */
static char *add_words(char *at, const uint64_t *words, size_t count)
{
	memcpy(at, words, count * sizeof(*words));
	return at + count * sizeof(*words);
}

/* NT_FILE: count, page size, {start, end, page of the file} for each, then the names. */
static void add_file(const struct memory_map *map, struct notes *notes)
{
	size_t page = getauxval(AT_PAGESZ);
	size_t count = 0, names = 0;
	char *row, *name;

	for (size_t i = 0; i < map->count; i++) {
		if (in_file_note(map, &map->mappings[i])) {
			count++;
			names += strlen(map->names + map->mappings[i].name) + 1;
		}
	}
	row = notes_add(notes, "CORE", NT_FILE, 16 + 24 * count + names);
	row = add_words(row, (uint64_t[]){count, page}, 2);
	name = row + 24 * count;
	for (size_t i = 0; i < map->count; i++) {
		const struct mapping *mapping = &map->mappings[i];

		if (!in_file_note(map, mapping))
			continue;
		row = add_words(row, (uint64_t[]){mapping->start, mapping->end,
						  mapping->file_offset / page}, 3);
		name = append_text(name, map->names + mapping->name) + 1;
	}
}

/* ------------------------------------------------- the frame pointer of a thread that was read */

static uintptr_t word_at(uintptr_t address)
{
	return *(const uintptr_t *)address;
}

static bool is_return_address(const struct memory_map *map, uintptr_t address)
{
	const struct mapping *mapping = memory_map_find(map, address);

	return mapping && mapping->flags & PF_X && mapping->flags & PF_R &&
	       address - mapping->start >= 8 && arch_follows_call((const unsigned char *)address);
}

/* Whether frame records lead from *record* up to the one that a thread starts with. */
static bool leads_to_start(const struct memory_map *map, uintptr_t record, uintptr_t end)
{
	for (int depth = 0; depth < MAX_FRAMES; depth++) {
		uintptr_t next = word_at(record);

		if (!is_return_address(map, word_at(record + sizeof(next))))
			return false;
		if (!next)
			return true;
		if (next & 7 || next <= record || next > end - 16)
			return depth > 0; /* the outermost frames were built without records */
		record = next;
	}
	return true;
}

/*
 * Code built with frame pointers cannot be unwound without the frame pointer: take the first
 * frame record above the stack pointer. See docs/explanation/threads.md.
 */
static uintptr_t recover_frame(const struct memory_map *map, uintptr_t sp)
{
	const struct mapping *stack = memory_map_find(map, sp);
	uintptr_t end;

	if (!stack || !(stack->flags & PF_R) || stack->file)
		return 0;
	end = stack->end - sp > FRAME_SEARCH ? sp + FRAME_SEARCH : stack->end;
	for (uintptr_t record = (sp + 7) & ~7ul; record + 16 <= end; record += 8) {
		uintptr_t next = word_at(record);
		bool plausible = next > record && next <= stack->end - 16 && !(next & 7);

		if (plausible && leads_to_start(map, record, stack->end))
			return record;
	}
	return 0;
}

/* -------------------------------------------------------------------------------- the threads */

static const void *fp_of(const struct image *image, uint32_t index)
{
	const struct thread *thread = &image->threads.threads[index];

	if (index == 0)
		return image->order->threads == THREADS_CALLER ? NULL : image->threads.caller_fp;
	return thread_state(thread) == THREAD_STOPPED ? arch_fp_state(thread->context) : NULL;
}

static bool has_registers(const struct thread *thread)
{
	return thread_state(thread) == THREAD_STOPPED || thread_state(thread) == THREAD_READ;
}

static void get_registers(const struct image *image, const struct memory_map *map, uint32_t index,
			  arch_registers *ret)
{
	const struct thread *thread = &image->threads.threads[index];

	if (index == 0)
		*ret = image->caller;
	else if (thread_state(thread) == THREAD_STOPPED)
		arch_registers_of_context(thread->context, thread->tls, ret);
	else
		arch_registers_of_call(&thread->call, recover_frame(map, thread->call.sp), ret);
}

static void add_prstatus(const struct image *image, const struct memory_map *map, uint32_t index,
			 struct notes *notes)
{
	struct elf_prstatus status = {0};
	arch_registers regs;

	get_registers(image, map, index, &regs);
	memcpy(&status.pr_reg, &regs, sizeof(regs));
	status.pr_pid = image->threads.threads[index].tid;
	status.pr_ppid = image->ppid;
	status.pr_pgrp = image->pgrp;
	status.pr_sid = image->sid;
	status.pr_fpvalid = fp_of(image, index) != NULL;
	memcpy(notes_add(notes, "CORE", NT_PRSTATUS, sizeof(status)), &status, sizeof(status));
}

static void add_thread(const struct image *image, const struct memory_map *map, uint32_t index,
		       struct notes *notes)
{
	add_prstatus(image, map, index, notes);
	if (index == 0) { /* debuggers look for the process between the first two threads */
		add_prpsinfo(image, notes);
		notes_add(notes, "CORE", NT_SIGINFO, SIGINFO_SIZE); /* zeros: no signal */
		add_auxv(notes);
		add_file(map, notes);
	}
	arch_add_fp_notes(notes, fp_of(image, index), image->threads.threads[index].tls);
}

/* ------------------------------------------------------------------------------ our own note */

/* What a thread calls itself must not look like another line of the note. */
static void replace_control_characters(char *text, const char *end)
{
	for (; text < end; text++)
		if ((unsigned char)*text < ' ')
			*text = '?';
}

static char *append_name(char *end, pid_t pid, pid_t tid)
{
	char path[64];
	char *at = append_decimal(append_text(path, "/proc/"), (uint64_t)pid);
	long length;

	at = append_decimal(append_text(at, "/task/"), (uint64_t)tid);
	*append_text(at, "/comm") = '\0';
	length = read_file(AT_FDCWD, path, end, 16);
	if (length <= 0 || end[length - 1] != '\n')
		return end;
	replace_control_characters(end, end + length - 1);
	return end + length - 1;
}

/* Lines of text: how long threads had been stopped, then "TID QUALITY NAME" for each. */
static void add_own(const struct image *image, struct notes *notes)
{
	size_t before = notes->size;
	const struct thread_table *table = &image->threads;
	char *data = notes_add(notes, "GENCORE", NT_GENCORE, 0);
	char *end = append_text(data, "gencore-note 1\nbackend ");

	end = append_text(end, image->order->kernel_writes ? "linux-sigsegv" : "linux-elf");
	end = append_decimal(append_text(end, "\nstop_ns "), image->stop_ns);
	for (uint32_t i = 0; i < table->count; i++) {
		const struct thread *thread = &table->threads[i];

		if (thread_state(thread) == THREAD_ENDED)
			continue;
		end = append_decimal(append_text(end, "\nthread "), (uint64_t)thread->tid);
		end = append_text(append_text(end, " "), thread_quality(thread));
		end = append_name(append_text(end, " "), image->pid, thread->tid);
	}
	end = append_text(end, "\n");
	notes->size = before; /* now that the size is known */
	notes_add(notes, "GENCORE", NT_GENCORE, (size_t)(end - data));
}

static size_t room_for(const struct image *image, const struct memory_map *map)
{
	size_t per_thread = 2 * NOTE_OVERHEAD + sizeof(struct elf_prstatus) + THREAD_LINE;
	size_t size = 8192 + AUXV_SIZE + 24 * map->count + map->names_size;

	for (uint32_t i = 0; i < image->threads.count; i++)
		size += per_thread + arch_fp_notes_size(fp_of(image, i));
	return size;
}

int notes_of_image(const struct image *image, const struct memory_map *map, struct notes *ret)
{
	*ret = (struct notes){.capacity = room_for(image, map)};
	ret->data = own_memory(ret->capacity);
	if (!ret->data)
		return -1;
	for (uint32_t i = 0; i < image->threads.count; i++)
		if (has_registers(&image->threads.threads[i]))
			add_thread(image, map, i, ret);
	add_own(image, ret);
	return 0;
}
