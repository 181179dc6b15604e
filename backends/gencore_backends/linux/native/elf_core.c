// SPDX-License-Identifier: Apache-2.0
/*
 * Writes an ELF core: header, program headers, notes, memory, in this order and never back, so
 * that it can go into a pipe. Runs in the clone; the contract of after_fork.c holds.
 *
 * The kernel copies straight from the image's memory, in calls of 1 MiB. A page that cannot be read
 * makes the call fail with EFAULT, where looking at it would end the clone: only pages that are
 * known to be there are looked at, for zeros.
 */
#define _GNU_SOURCE
#include "elf_core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lifeline.h"
#include "segments.h"

enum {
	CHUNK = 1 << 20,
	ZERO_PAGES = 256,
};

struct writer {
	struct clone *clone;
	int fd;
	bool seekable;
	bool lends; /* pages, to a pipe */
	bool expects_guards;
	size_t page;
	uint64_t hole; /* bytes to skip before the next write */
	void *zeros;   /* one page */
	void *copy;    /* of one page */
};

int clone_write_all(int fd, const void *data, size_t size)
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

/* ------------------------------------------------------------------------------------- zeros */

static int clone_fill_hole(struct writer *writer)
{
	long position;

	if (!writer->hole)
		return 0;
	position = syscall(SYS_lseek, writer->fd, writer->hole, SEEK_CUR);
	writer->hole = 0;
	return position < 0 ? -1 : 0;
}

/* A page over and over, in one call. */
static long clone_repeat_zeros(const struct writer *writer, size_t size)
{
	struct iovec pages[ZERO_PAGES];
	size_t count = 0;

	for (size_t left = size; left && count < ZERO_PAGES; left -= pages[count++].iov_len)
		pages[count] = (struct iovec){writer->zeros,
					      left < writer->page ? left : writer->page};
	return syscall(SYS_writev, writer->fd, pages, count);
}

static int clone_write_zeros(struct writer *writer, size_t size)
{
	if (writer->seekable) {
		writer->hole += size;
		return 0;
	}
	while (size) {
		long written = clone_repeat_zeros(writer, size);

		if (written < 0 && (errno != EAGAIN || clone_wait_for_room(writer->fd)))
			return -1;
		if (written < 0)
			continue;
		size -= (size_t)written;
	}
	return 0;
}

/* ------------------------------------------------------------------------------------ memory */

/*
 * vmsplice(2) lends the pages to the pipe instead of copying them into it: more than twice as
 * fast where it was tried. That is safe because nothing changes the clone's memory. Secret memory
 * (memfd_secret(2)) and pages of a device cannot be lent.
 */
static long clone_write_some(struct writer *writer, uintptr_t address, size_t size)
{
	struct iovec range = {(void *)address, size};

	if (writer->lends) {
		long lent = syscall(SYS_vmsplice, writer->fd, &range, 1, SPLICE_F_NONBLOCK);

		if (lent >= 0 || errno == EAGAIN)
			return lent;
		writer->lends = errno == EFAULT; /* else no pipe, or seccomp */
	}
	return syscall(SYS_write, writer->fd, address, size);
}

/* Write readable memory; returns how much of it there was, or -1 with errno set. */
static long clone_write_readable(struct writer *writer, uintptr_t address, size_t size)
{
	size_t done = 0;

	if (clone_fill_hole(writer))
		return -1;
	while (done < size) {
		long written = clone_write_some(writer, address + done, size - done);

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

/*
 * Bytes that cannot be read, from a page that cannot. Of a file those behind its end, which are
 * found in steps that grow; of other memory, page by page.
 */
static size_t clone_unreadable(const struct writer *writer, const struct mapping *mapping,
			       uintptr_t address, size_t size)
{
	const struct peek *peek = &writer->clone->peek;
	size_t bad = writer->page - address % writer->page;

	while (bad < size && !clone_can_read(peek, address + bad, 1))
		bad = mapping->inode && bad >= CHUNK ? 2 * bad : bad + writer->page;
	return bad < size ? bad : size;
}

static int clone_write_memory(struct writer *writer, const struct mapping *mapping,
			      uintptr_t address, size_t size)
{
	while (size) {
		size_t chunk = size < CHUNK ? size : CHUNK;
		long done = clone_write_readable(writer, address, chunk);
		size_t bad;

		if (done < 0 || clone_check_reader())
			return -1;
		address += (size_t)done;
		size -= (size_t)done;
		if ((size_t)done == chunk)
			continue;
		bad = clone_unreadable(writer, mapping, address, size);
		if (!writer->expects_guards)
			clone_add_loss(&writer->clone->losses, address, bad);
		if (clone_write_zeros(writer, bad))
			return -1;
		address += bad;
		size -= bad;
	}
	return 0;
}

/* -------------------------------------------------------------------- private anonymous memory */

static bool is_zero(const uint64_t *page, size_t words)
{
	for (size_t i = 0; i < words; i += 8)
		if (page[i] | page[i + 1] | page[i + 2] | page[i + 3] | page[i + 4] | page[i + 5] |
		    page[i + 6] | page[i + 7])
			return false;
	return true;
}

/* Pages that are present can be loaded; others are looked at through system calls. */
static bool clone_is_zero(const struct writer *writer, uintptr_t page, bool loadable)
{
	const void *words = (const void *)page;

	if (!loadable) {
		words = writer->copy;
		if (clone_peek(&writer->clone->peek, writer->copy, page, writer->page) !=
		    writer->page)
			return false;
	}
	return is_zero(words, writer->page / 8);
}

/* Write pages of which those that are zeros become holes of the file. */
static int clone_write_sparse(struct writer *writer, const struct mapping *mapping,
			      const struct page_region *run)
{
	bool loadable = mapping->readable && is_loadable(run);
	uintptr_t address = run->start;

	while (address < run->end) {
		uintptr_t at = address;

		while (at < run->end && at - address < CHUNK && !clone_is_zero(writer, at, loadable))
			at += writer->page;
		if (clone_write_memory(writer, mapping, address, at - address))
			return -1;
		for (address = at;
		     address < run->end && clone_is_zero(writer, address, loadable);)
			address += writer->page;
		writer->hole += address - at;
	}
	return 0;
}

/*
 * Whether pages that count as swapped out may be guard pages, of which kernels before 6.16 say no
 * more than that. They cannot be read, and nobody misses them.
 */
static bool may_be_guards(const struct page_map *pages, const struct mapping *mapping,
			  const struct page_region *run)
{
	return !pages->knows_guards && !is_loadable(run) && !mapping->swapped_kb;
}

static int clone_write_run(struct writer *writer, const struct mapping *mapping,
			   const struct page_region *run)
{
	writer->expects_guards = may_be_guards(&writer->clone->pages, mapping, run);
	if (writer->seekable)
		return clone_write_sparse(writer, mapping, run);
	return clone_write_memory(writer, mapping, run->start, run->end - run->start);
}

static int clone_write_pages(struct writer *writer, const struct segment *segment)
{
	uintptr_t at = segment->start;
	uintptr_t end = at + segment->file_size;
	struct page_walk walk = clone_walk_pages(&writer->clone->pages, at, end);
	struct page_region run;

	while (clone_next_pages(&walk, &run)) {
		if (run.start < at || run.end > end) {
			errno = EUCLEAN; /* the kernel contradicts itself: else zeros would have no end */
			return -1;
		}
		if (run.categories & PAGE_IS_GUARD)
			continue;
		if (clone_write_zeros(writer, run.start - at) ||
		    clone_write_run(writer, segment->mapping, &run))
			return -1;
		at = run.end;
	}
	writer->expects_guards = false;
	return clone_write_zeros(writer, end - at);
}

static int clone_write_segment(struct writer *writer, const struct segment *segment)
{
	if (segment->by_pages)
		return clone_write_pages(writer, segment);
	return clone_write_memory(writer, segment->mapping, segment->start, segment->file_size);
}

/* ------------------------------------------------------------------------------------- headers */

struct head {
	Elf64_Ehdr *elf;
	size_t size;	      /* with program headers and perhaps one section header */
	uint64_t notes_begin; /* offsets in the file */
	uint64_t memory_begin;
	uint64_t total;
};

static void clone_fill_elf_header(Elf64_Ehdr *elf, size_t program_headers)
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
static void clone_fill_section_header(Elf64_Ehdr *elf, Elf64_Shdr *section, size_t program_headers)
{
	elf->e_shoff = (uint64_t)((char *)section - (char *)elf);
	elf->e_shentsize = sizeof(*section);
	elf->e_shnum = 1;
	section->sh_type = SHT_NULL;
	section->sh_size = 1;
	section->sh_info = (Elf64_Word)program_headers;
}

static uint64_t clone_fill_loads(Elf64_Phdr *header, const struct segments *segments,
				 uint64_t offset, size_t page)
{
	for (size_t i = 0; i < segments->count; i++, header++) {
		const struct segment *segment = &segments->rows[i];

		*header = (Elf64_Phdr){.p_type = PT_LOAD,
				       .p_offset = offset,
				       .p_vaddr = segment->start,
				       .p_filesz = segment->file_size,
				       .p_memsz = segment->size,
				       .p_flags = segment->mapping->flags,
				       .p_align = page};
		offset += segment->file_size;
	}
	return offset;
}

static int clone_build_head(const struct segments *segments, const struct notes *notes,
			    size_t page, struct head *ret)
{
	size_t count = segments->count + 1;
	Elf64_Phdr *headers;

	ret->size = sizeof(Elf64_Ehdr) + count * sizeof(Elf64_Phdr);
	ret->size += count >= PN_XNUM ? sizeof(Elf64_Shdr) : 0;
	ret->elf = clone_memory(ret->size);
	if (!ret->elf)
		return -1;
	headers = (Elf64_Phdr *)(ret->elf + 1);
	clone_fill_elf_header(ret->elf, count);
	if (count >= PN_XNUM)
		clone_fill_section_header(ret->elf, (Elf64_Shdr *)(headers + count), count);
	ret->notes_begin = (ret->size + 7) & ~(uint64_t)7;
	ret->memory_begin = (ret->notes_begin + notes->size + page - 1) & ~(uint64_t)(page - 1);
	headers[0] = (Elf64_Phdr){.p_type = PT_NOTE,
				  .p_offset = ret->notes_begin,
				  .p_filesz = notes->size,
				  .p_align = 4};
	ret->total = clone_fill_loads(headers + 1, segments, ret->memory_begin, page);
	return 0;
}

static int clone_write_head(const struct writer *writer, const struct head *head,
			    const struct notes *notes)
{
	size_t before_notes = head->notes_begin - head->size;
	size_t before_memory = head->memory_begin - head->notes_begin - notes->size;

	if (clone_write_all(writer->fd, head->elf, head->size) ||
	    clone_write_all(writer->fd, writer->zeros, before_notes) ||
	    clone_write_all(writer->fd, notes->data, notes->size))
		return -1;
	return clone_write_all(writer->fd, writer->zeros, before_memory);
}

/* ----------------------------------------------------------------------------------- the core */

static int clone_give_up(struct step_failure *failure, enum snapshot_step step)
{
	failure->step = (int32_t)(errno == ESRCH ? STEP_READER_ENDED : step);
	failure->err = errno;
	return -1;
}

int clone_write_core(struct clone *clone, const struct notes *notes, struct step_failure *failure)
{
	struct writer writer = {.clone = clone, .fd = clone->order.core_fd, .page = clone->pages.page};
	int status_fd = clone->image->status_fd;
	struct segments segments;
	struct head head;

	writer.zeros = clone_memory(2 * writer.page);
	writer.copy = (char *)writer.zeros + writer.page;
	if (!writer.zeros || clone_choose_segments(clone, &segments) ||
	    clone_build_head(&segments, notes, writer.page, &head))
		return clone_give_up(failure, STEP_MEMORY);
	writer.seekable = syscall(SYS_lseek, writer.fd, 0, SEEK_CUR) == 0;
	writer.lends = !writer.seekable;
	clone_tell_parent(status_fd, MESSAGE_SIZE, head.total, head.memory_begin);
	if (clone_write_head(&writer, &head, notes))
		return clone_give_up(failure, STEP_WRITE_CORE);
	for (size_t i = 0; i < segments.count; i++)
		if (clone_write_segment(&writer, &segments.rows[i]))
			return clone_give_up(failure, STEP_WRITE_CORE);
	if (writer.seekable && syscall(SYS_ftruncate, writer.fd, head.total))
		return clone_give_up(failure, STEP_WRITE_CORE);
	clone_report_losses(&clone->losses);
	return 0;
}
