// SPDX-License-Identifier: Apache-2.0
/*
 * A thread in select(2) or poll(2) with a timeout cannot be interrupted unnoticed, but CPython does
 * not mind: it runs the handlers of pending signals and calls again for the time that is left (PEP
 * 475). Who has made a call is told by the first return address above the stack pointer that is
 * not the C library's.
 */
#define _GNU_SOURCE
#include "retries.h"

#include <link.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "arch.h"
#include "memory_access.h"

enum {
	MAX_TEXTS = 64,
	SEARCH = 256,		 /* bytes: the frames of the C library's functions around a call */
	SAME_STACK = 8 << 20,	 /* a value so near the stack pointer points into the stack */
	LOWEST_CODE = 0x10000,
	CALL_SIZE = 8,		 /* bytes before a return address that are looked at */
	LONGEST_FUNCTION = 2048, /* of the C library's functions that make blocking calls */
};

struct text {
	uintptr_t start;
	uintptr_t end;
	bool c_library;
};

/* Written once, before any thread is stopped. */
static struct text texts[MAX_TEXTS];
static size_t text_count;

/* The executable segments of one object, as one range. */
static struct text text_of(const struct dl_phdr_info *info)
{
	struct text text = {UINTPTR_MAX, 0, false};

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + header->p_vaddr;

		if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
			continue;
		text.start = start < text.start ? start : text.start;
		text.end = start + header->p_memsz > text.end ? start + header->p_memsz : text.end;
	}
	return text;
}

/* Extension modules of the standard library that make blocking calls, where they are not built in. */
static bool is_extension_of_cpython(const char *name)
{
	static const char *const modules[] = {"select.", "_socket.", "_multiprocessing.", "fcntl.",
					      "time."};
	const char *file = strrchr(name, '/');

	if (!file || !strstr(name, "/lib-dynload/"))
		return false;
	for (size_t i = 0; i < sizeof(modules) / sizeof(*modules); i++)
		if (!strncmp(file + 1, modules[i], strlen(modules[i])))
			return true;
	return false;
}

/* Before glibc 2.34 the calls that block were in a library of their own. */
static bool is_c_library(const char *name)
{
	return strstr(name, "/libc.so.") || strstr(name, "/libc-2.") || strstr(name, "/libpthread");
}

static int note_object(struct dl_phdr_info *info, size_t size, void *function)
{
	struct text text = text_of(info);
	uintptr_t address = (uintptr_t)function;
	bool cpython = (address >= text.start && address < text.end) ||
		       is_extension_of_cpython(info->dlpi_name);

	(void)size;
	text.c_library = is_c_library(info->dlpi_name);
	if (text_count < MAX_TEXTS && (cpython || text.c_library))
		texts[text_count++] = text;
	return 0;
}

void retries_note_cpython(const void *function)
{
	if (!text_count)
		dl_iterate_phdr(note_object, (void *)(uintptr_t)function);
}

static const struct text *text_with(uintptr_t address)
{
	for (size_t i = 0; i < text_count; i++)
		if (address >= texts[i].start && address < texts[i].end)
			return &texts[i];
	return NULL;
}

static bool is_return_address(uintptr_t value, uintptr_t sp)
{
	unsigned char before[CALL_SIZE];

	if (value < LOWEST_CODE || value - (sp - SAME_STACK) < 2 * SAME_STACK)
		return false;
	return !memory_read(value - CALL_SIZE, before, CALL_SIZE) &&
	       arch_follows_call(before + CALL_SIZE);
}

/* Whether an address may be in the C library's function that begins there. */
static bool is_within(uintptr_t address, uintptr_t function)
{
	return function && address >= function && address - function < LONGEST_FUNCTION;
}

/*
 * Old return addresses lie in the frames too, of calls that have returned. The right one is that of
 * a call of the C library's function that is being run.
 */
bool retries_at(uintptr_t sp, uintptr_t pc)
{
	const struct text *text = text_with(pc);
	uintptr_t running = pc;

	if (!text || !text->c_library)
		return text != NULL;
	for (uintptr_t at = sp & ~(uintptr_t)7; at < sp + SEARCH; at += sizeof(uintptr_t)) {
		uintptr_t value;

		if (memory_read(at, &value, sizeof(value)))
			return false;
		if (!is_return_address(value, sp) ||
		    !is_within(running, arch_called_function(value)))
			continue;
		text = text_with(value);
		if (!text || !text->c_library)
			return text != NULL;
		running = value;
	}
	return false;
}
