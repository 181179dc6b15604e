// SPDX-License-Identifier: Apache-2.0
/*
 * Writes an ELF core: header, program headers, notes, memory, in this order and never back, so
 * that it can go into a pipe. Runs in the child; the contract of after_fork.c holds.
 *
 * The kernel copies straight from the image's memory, in calls of 1 MiB. A page that cannot be read
 * makes the call fail with EFAULT, where looking at it would end the child.
 */
#define _GNU_SOURCE
#include "elf_core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lifeline.h"

enum { CHUNK = 1 << 20 };

struct writer {
	int fd;
	int status_fd;
	bool seekable;
	bool lends; /* pages, to a pipe */
	size_t page;
	uint64_t hole; /* bytes to skip before the next write */
	void *zeros;   /* one page */
};

void tell_parent(int status_fd, enum message_kind kind, uint64_t first, uint64_t second)
{
	struct snapshot_message message = {kind, first, second};

	syscall(SYS_write, status_fd, &message, sizeof(message));
}

int write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		long written = syscall(SYS_write, fd, at, size);

		if (written < 0 && (errno != EAGAIN || clone_wait_for_room(fd)))
			return -1;
		if (written < 0)
			continue;
		at += written;
		size -= (size_t)written;
	}
	return 0;
}

/* ------------------------------------------------------------------------------------ memory */

static int fill_hole(struct writer *writer)
{
	long position;

	if (!writer->hole)
		return 0;
	position = syscall(SYS_lseek, writer->fd, writer->hole, SEEK_CUR);
	writer->hole = 0;
	return position < 0 ? -1 : 0;
}

static int write_zeros(struct writer *writer, size_t size)
{
	if (writer->seekable) {
		writer->hole += size;
		return 0;
	}
	for (; size; size -= writer->page)
		if (write_all(writer->fd, writer->zeros, writer->page))
			return -1;
	return 0;
}

/*
 * vmsplice(2) lends the pages to the pipe instead of copying them into it: more than twice as
 * fast where it was tried. That is safe because nothing changes the snapshot's memory.
 */
static long write_some(struct writer *writer, uintptr_t address, size_t size)
{
	struct iovec range = {(void *)address, size};

	if (writer->lends) {
		long lent = syscall(SYS_vmsplice, writer->fd, &range, 1, SPLICE_F_NONBLOCK);

		if (lent >= 0 || errno == EFAULT || errno == EAGAIN)
			return lent;
		writer->lends = false; /* no pipe, or seccomp */
	}
	return syscall(SYS_write, writer->fd, address, size);
}

/* Write readable memory; returns how much of it there was, or -1 with errno set. */
static long write_readable(struct writer *writer, uintptr_t address, size_t size)
{
	size_t done = 0;

	if (fill_hole(writer))
		return -1;
	while (done < size) {
		long written = write_some(writer, address + done, size - done);

		if (written < 0 && errno == EFAULT)
			break;
		if (written < 0 && (errno != EAGAIN || clone_wait_for_room(writer->fd)))
			return -1;
		if (written < 0)
			continue;
		done += (size_t)written;
	}
	return (long)done;
}

static int write_memory(struct writer *writer, uintptr_t address, size_t size)
{
	while (size) {
		size_t chunk = size < CHUNK ? size : CHUNK;
		long done = write_readable(writer, address, chunk);
		size_t bad;

		if (done < 0 || clone_check_reader())
			return -1;
		address += (size_t)done;
		size -= (size_t)done;
		if ((size_t)done == chunk)
			continue;
		bad = writer->page - address % writer->page;
		tell_parent(writer->status_fd, MESSAGE_UNREADABLE, address, bad);
		if (write_zeros(writer, bad))
			return -1;
		address += bad;
		size -= bad;
	}
	return 0;
}

static bool is_zero(const uint64_t *page, size_t words)
{
	for (size_t i = 0; i < words; i += 8)
		if (page[i] | page[i + 1] | page[i + 2] | page[i + 3] | page[i + 4] | page[i + 5] |
		    page[i + 6] | page[i + 7])
			return false;
	return true;
}

/* Write memory whose pages of zeros become holes of the file. */
static int write_sparse(struct writer *writer, uintptr_t address, size_t size)
{
	uintptr_t end = address + size;
	size_t words = writer->page / 8;

	while (address < end) {
		uintptr_t run = address;

		while (run < end && run - address < CHUNK && !is_zero((void *)run, words))
			run += writer->page;
		if (write_memory(writer, address, run - address))
			return -1;
		for (address = run; address < end && is_zero((void *)address, words);)
			address += writer->page;
		writer->hole += address - run;
	}
	return 0;
}

static int write_segment(struct writer *writer, const struct segment *segment)
{
	if (!(segment->flags & PF_R)) /* of this copy of the address space only */
		syscall(SYS_mprotect, segment->start, segment->size, PROT_READ);
	if (segment->sparse && writer->seekable)
		return write_sparse(writer, segment->start, segment->file_size);
	return write_memory(writer, segment->start, segment->file_size);
}

/* ------------------------------------------------------------------------------------- headers */

struct head {
	Elf64_Ehdr *elf;
	size_t size;	      /* with program headers and perhaps one section header */
	uint64_t notes_begin; /* offsets in the file */
	uint64_t memory_begin;
	uint64_t total;
};

static void fill_elf_header(Elf64_Ehdr *elf, size_t program_headers)
{
	memcpy(elf->e_ident, ELFMAG, SELFMAG);
	elf->e_ident[EI_CLASS] = ELFCLASS64;
	elf->e_ident[EI_DATA] = ELFDATA2LSB;
	elf->e_ident[EI_VERSION] = EV_CURRENT;
	elf->e_type = ET_CORE;
	elf->e_machine = ARCH_ELF_MACHINE;
	elf->e_version = EV_CURRENT;
	elf->e_phoff = sizeof(*elf);
	elf->e_ehsize = sizeof(*elf);
	elf->e_phentsize = sizeof(Elf64_Phdr);
	elf->e_phnum = (Elf64_Half)(program_headers < PN_XNUM ? program_headers : PN_XNUM);
}

/* More program headers than 16 bits can count: section header 0 has their number, see elf(5). */
static void fill_section_header(Elf64_Ehdr *elf, Elf64_Shdr *section, size_t program_headers)
{
	elf->e_shoff = (uint64_t)((char *)section - (char *)elf);
	elf->e_shentsize = sizeof(*section);
	elf->e_shnum = 1;
	section->sh_type = SHT_NULL;
	section->sh_size = 1;
	section->sh_info = (Elf64_Word)program_headers;
}

static uint64_t fill_loads(Elf64_Phdr *header, const struct memory_map *map, uint64_t offset,
			   size_t page)
{
	for (size_t i = 0; i < map->segment_count; i++, header++) {
		const struct segment *segment = &map->segments[i];

		*header = (Elf64_Phdr){.p_type = PT_LOAD,
				       .p_offset = offset,
				       .p_vaddr = segment->start,
				       .p_filesz = segment->file_size,
				       .p_memsz = segment->size,
				       .p_flags = segment->flags,
				       .p_align = page};
		offset += segment->file_size;
	}
	return offset;
}

static int build_head(const struct memory_map *map, const struct notes *notes, size_t page,
		      struct head *ret)
{
	size_t count = map->segment_count + 1;
	Elf64_Phdr *headers;

	ret->size = sizeof(Elf64_Ehdr) + count * sizeof(Elf64_Phdr);
	ret->size += count >= PN_XNUM ? sizeof(Elf64_Shdr) : 0;
	ret->elf = own_memory(ret->size);
	if (!ret->elf)
		return -1;
	headers = (Elf64_Phdr *)(ret->elf + 1);
	fill_elf_header(ret->elf, count);
	if (count >= PN_XNUM)
		fill_section_header(ret->elf, (Elf64_Shdr *)(headers + count), count);
	ret->notes_begin = (ret->size + 7) & ~(uint64_t)7;
	ret->memory_begin = (ret->notes_begin + notes->size + page - 1) & ~(uint64_t)(page - 1);
	headers[0] = (Elf64_Phdr){.p_type = PT_NOTE,
				  .p_offset = ret->notes_begin,
				  .p_filesz = notes->size,
				  .p_align = 4};
	ret->total = fill_loads(headers + 1, map, ret->memory_begin, page);
	return 0;
}

static int write_head(const struct writer *writer, const struct head *head,
		      const struct notes *notes)
{
	size_t before_notes = head->notes_begin - head->size;
	size_t before_memory = head->memory_begin - head->notes_begin - notes->size;

	if (write_all(writer->fd, head->elf, head->size) ||
	    write_all(writer->fd, writer->zeros, before_notes) ||
	    write_all(writer->fd, notes->data, notes->size))
		return -1;
	return write_all(writer->fd, writer->zeros, before_memory);
}

/* ----------------------------------------------------------------------------------- the core */

static int give_up(struct step_failure *failure, enum snapshot_step step)
{
	failure->step = (int32_t)(errno == ESRCH ? STEP_READER_ENDED : step);
	failure->err = errno;
	return -1;
}

int elf_core_write(const struct image *image, const struct memory_map *map,
		   const struct notes *notes, struct step_failure *failure)
{
	struct writer writer = {.fd = image->order->core_fd,
				.status_fd = image->status_fd,
				.page = getauxval(AT_PAGESZ)};
	struct head head;

	writer.zeros = own_memory(writer.page);
	if (!writer.zeros || build_head(map, notes, writer.page, &head))
		return give_up(failure, STEP_MEMORY);
	writer.seekable = syscall(SYS_lseek, writer.fd, 0, SEEK_CUR) == 0;
	writer.lends = !writer.seekable;
	tell_parent(writer.status_fd, MESSAGE_SIZE, head.total, head.memory_begin);
	if (write_head(&writer, &head, notes))
		return give_up(failure, STEP_WRITE_CORE);
	for (size_t i = 0; i < map->segment_count; i++)
		if (write_segment(&writer, &map->segments[i]))
			return give_up(failure, STEP_WRITE_CORE);
	if (writer.seekable && syscall(SYS_ftruncate, writer.fd, head.total))
		return give_up(failure, STEP_WRITE_CORE);
	return 0;
}
