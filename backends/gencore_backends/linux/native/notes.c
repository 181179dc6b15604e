// SPDX-License-Identifier: Apache-2.0
/*
 * The notes of a core. Runs in the clone; the contract of after_fork.c holds.
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
	VIEW = 4096,
	CALL = 8, /* no call instruction is longer */
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

static void clone_make_path(char *path, pid_t pid, const char *name)
{
	char *end = append_text(append_decimal(append_text(path, "/proc/"), (uint64_t)pid), "/");

	*append_text(end, name) = '\0';
}

/* Arguments as a line, or the program alone where the content is to be without the others. */
static void clone_add_arguments(const struct clone *clone, char *text, size_t size)
{
	char path[32];
	long length;

	clone_make_path(path, clone->image->pid, "cmdline");
	length = read_file(AT_FDCWD, path, text, size - 1);
	if (length > 0 && is_limited(clone->order.content)) {
		long program = (long)strlen(text);

		memset(text + program, 0, (size_t)(length - program));
		length = program;
	}
	for (long i = 0; i < length - 1; i++)
		if (!text[i])
			text[i] = ' ';
}

static void clone_add_prpsinfo(const struct clone *clone, struct notes *notes)
{
	struct elf_prpsinfo info = {0};
	const struct image *image = clone->image;
	char path[32];
	long length;

	info.pr_sname = 'R';
	info.pr_uid = image->uid;
	info.pr_gid = image->gid;
	info.pr_pid = image->pid;
	info.pr_ppid = image->ppid;
	info.pr_pgrp = image->pgrp;
	info.pr_sid = image->sid;
	clone_make_path(path, image->pid, "comm");
	length = read_file(AT_FDCWD, path, info.pr_fname, sizeof(info.pr_fname) - 1);
	if (length > 0 && info.pr_fname[length - 1] == '\n')
		info.pr_fname[length - 1] = '\0';
	clone_add_arguments(clone, info.pr_psargs, sizeof(info.pr_psargs));
	memcpy(notes_add(notes, "CORE", NT_PRPSINFO, sizeof(info)), &info, sizeof(info));
}

/* The size is known only after reading: the note is made as large as it can be, then shrunk. */
static void clone_add_auxv(struct notes *notes)
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
	return mapping->inode && map->names[mapping->name];
}

/* What a note holds is aligned to four bytes only. */
static char *add_words(char *at, const uint64_t *words, size_t count)
{
	memcpy(at, words, count * sizeof(*words));
	return at + count * sizeof(*words);
}

/* NT_FILE: count, page size, {start, end, page of the file} for each, then the names. */
static void clone_add_file(const struct memory_map *map, struct notes *notes)
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

/* One page of the image, copied: whoever looks at words in order looks at few pages. */
struct view {
	const struct clone *clone;
	uintptr_t page;
	size_t size; /* bytes of it that could be read */
	uint64_t words[VIEW / 8];
};

/* The word at an address that is a multiple of its size; 0 where it cannot be read. */
static uintptr_t clone_word_at(struct view *view, uintptr_t address)
{
	size_t offset = address % VIEW;

	if (view->page != address - offset) {
		view->page = address - offset;
		view->size = clone_peek(&view->clone->peek, view->words, view->page, VIEW);
	}
	return offset < view->size ? view->words[offset / 8] : 0;
}

static bool clone_is_return_address(const struct clone *clone, uintptr_t address)
{
	const struct mapping *mapping = clone_find_mapping(&clone->map, address);
	unsigned char code[CALL]; /* what is in front of it */

	return mapping && mapping->flags & PF_X && address - mapping->start >= CALL &&
	       clone_peek(&clone->peek, code, address - CALL, CALL) == CALL &&
	       arch_follows_call(code + CALL);
}

/* Whether frame records lead from *record* up to the one that a thread starts with. */
static bool clone_leads_to_start(struct view *view, uintptr_t record, uintptr_t end)
{
	for (int depth = 0; depth < MAX_FRAMES; depth++) {
		uintptr_t next = clone_word_at(view, record);

		if (!clone_is_return_address(view->clone, clone_word_at(view, record + 8)))
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
static uintptr_t clone_recover_frame(const struct clone *clone, uintptr_t sp)
{
	const struct mapping *stack = clone_find_mapping(&clone->map, sp);
	struct view search = {.clone = clone, .page = 1}, chain = search; /* no page yet */
	uintptr_t end;

	if (!stack || stack->inode)
		return 0;
	end = stack->end - sp > FRAME_SEARCH ? sp + FRAME_SEARCH : stack->end;
	for (uintptr_t record = (sp + 7) & ~7ul; record + 16 <= end; record += 8) {
		uintptr_t next = clone_word_at(&search, record);
		bool plausible = next > record && next <= stack->end - 16 && !(next & 7);

		if (plausible && clone_leads_to_start(&chain, record, stack->end))
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
	if (thread_state(thread) != THREAD_STOPPED || !thread->context)
		return NULL;
	return arch_fp_state(thread->context);
}

static bool has_registers(const struct image *image, uint32_t index)
{
	const struct thread *thread = &image->threads.threads[index];

	if (thread_state(thread) == THREAD_STOPPED)
		return index == 0 || thread->context;
	return thread_state(thread) == THREAD_READ;
}

/* A stack under MADV_DONTFORK is not here, nor are the registers that the kernel put on it. */
void clone_check_contexts(const struct clone *clone)
{
	const struct thread_table *table = &clone->image->threads;

	for (uint32_t i = 1; i < table->count; i++) {
		struct thread *thread = &table->threads[i];
		const struct peek *peek = &clone->peek;
		uintptr_t context = (uintptr_t)thread->context;
		const void *fp;

		if (thread_state(thread) != THREAD_STOPPED)
			continue;
		if (!clone_can_read(peek, context, sizeof(*thread->context))) {
			thread->context = NULL;
			continue;
		}
		fp = arch_fp_state(thread->context);
		if (fp && (!clone_can_read(peek, (uintptr_t)fp, sizeof(arch_fp_registers)) ||
			   !clone_can_read(peek, (uintptr_t)fp, arch_fp_image_size(fp))))
			thread->context = NULL;
	}
}

static void clone_get_registers(const struct clone *clone, uint32_t index, arch_registers *ret)
{
	const struct image *image = clone->image;
	const struct thread *thread = &image->threads.threads[index];

	if (index == 0)
		*ret = image->caller;
	else if (thread_state(thread) == THREAD_STOPPED)
		arch_registers_of_context(thread->context, thread->tls, ret);
	else
		arch_registers_of_call(&thread->call, clone_recover_frame(clone, thread->call.sp), ret);
}

static void clone_add_prstatus(const struct clone *clone, uint32_t index, struct notes *notes)
{
	const struct image *image = clone->image;
	struct elf_prstatus status = {0};
	arch_registers regs;

	clone_get_registers(clone, index, &regs);
	memcpy(&status.pr_reg, &regs, sizeof(regs));
	status.pr_pid = image->threads.threads[index].tid;
	status.pr_ppid = image->ppid;
	status.pr_pgrp = image->pgrp;
	status.pr_sid = image->sid;
	status.pr_fpvalid = fp_of(image, index) != NULL;
	memcpy(notes_add(notes, "CORE", NT_PRSTATUS, sizeof(status)), &status, sizeof(status));
}

static void clone_add_thread(const struct clone *clone, uint32_t index, bool is_first,
			     struct notes *notes)
{
	const struct image *image = clone->image;

	clone_add_prstatus(clone, index, notes);
	if (is_first) { /* debuggers look for the process between the first two threads */
		clone_add_prpsinfo(clone, notes);
		notes_add(notes, "CORE", NT_SIGINFO, SIGINFO_SIZE); /* zeros: no signal */
		clone_add_auxv(notes);
		clone_add_file(&clone->map, notes);
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

static char *clone_append_name(char *end, pid_t pid, pid_t tid)
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
static void clone_add_own(const struct image *image, struct notes *notes)
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
		end = clone_append_name(append_text(end, " "), image->pid, thread->tid);
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

/* The thread that debuggers select: the one that asked, or the main one. */
static uint32_t first_thread(const struct image *image)
{
	if (image->order->main_first)
		for (uint32_t i = 1; i < image->threads.count; i++)
			if (image->threads.threads[i].tid == image->pid)
				return has_registers(image, i) ? i : 0;
	return 0;
}

int clone_make_notes(const struct clone *clone, struct notes *ret)
{
	const struct image *image = clone->image;
	const uint32_t first = first_thread(image);

	*ret = (struct notes){.capacity = room_for(image, &clone->map)};
	ret->data = clone_memory(ret->capacity);
	if (!ret->data)
		return -1;
	clone_add_thread(clone, first, true, ret);
	for (uint32_t i = 0; i < image->threads.count; i++)
		if (i != first && has_registers(image, i))
			clone_add_thread(clone, i, false, ret);
	clone_add_own(image, ret);
	return 0;
}
