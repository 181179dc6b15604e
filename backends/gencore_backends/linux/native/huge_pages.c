// SPDX-License-Identifier: Apache-2.0
/*
 * MADV_COLLAPSE changes no content and leaves no flag. What is shared is passed over: the kernel would
 * make a copy of it. See Documentation/admin-guide/mm/transhuge.rst and pagemap.rst.
 */
#define _GNU_SOURCE
#include "huge_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cgroup_memory.h"
#include "clock.h"
#include "kernel_abi.h"
#include "proc_text.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* include/uapi/asm-generic/mman-common.h, Linux 6.1 */
#endif

enum {
	PAGE = 4096,
	HUGE = 2 * 1024 * 1024,
	PAGES = HUGE / PAGE,
	LEAST_PRESENT = PAGES * 9 / 10, /* the process grows by the others */
	STEP = 2 * HUGE,		/* larger ones make other threads wait longer */
	MOST_FAILURES = 3,		/* in a row */
	ATTEMPTS = 3,
	ROLLUP = 4096,
	EXCEPT_ADVISED = 1 << 1,      /* of prctl(2), Linux 6.18: who asks may have some */
	LEFT_FREE = 64 * 1024 * 1024, /* the clone and the recorder need some memory too */
	MOST_OPEN = 4,
};

#define ENTRY_PRESENT (1ull << 63)
#define ENTRY_FILE (1ull << 61)
#define ENTRY_EXCLUSIVE (1ull << 56)

/*
 * The page maps that are open: a child that another thread forks meanwhile has them too, and would keep
 * them, and this process's memory map with them. What does not fit in is that child's.
 */
static int open_maps[MOST_OPEN];

/* A fork waits for whoever opens or closes one, whom no signal handler that forks interrupts. */
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;

static void begin_change(sigset_t *before)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
	pthread_mutex_lock(&changing);
}

static void end_change(const sigset_t *before)
{
	pthread_mutex_unlock(&changing);
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

static void replace(int fd, int other)
{
	for (int i = 0; i < MOST_OPEN; i++) {
		if (open_maps[i] == fd) {
			open_maps[i] = other;
			return;
		}
	}
}

/* Returns its descriptor, or -1 with errno set. */
static int open_map(void)
{
	sigset_t before;
	int fd, err;

	begin_change(&before);
	fd = open("/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC);
	err = errno;
	if (fd > 0)
		replace(0, fd);
	end_change(&before);
	errno = err;
	return fd;
}

static void close_map(int fd)
{
	sigset_t before;

	if (fd < 0)
		return;
	begin_change(&before);
	replace(fd, 0);
	close(fd);
	end_change(&before);
}

void collapse_before_fork(void)
{
	pthread_mutex_lock(&changing);
}

void collapse_after_fork_in_parent(void)
{
	pthread_mutex_unlock(&changing);
}

void collapse_after_fork(void)
{
	for (int i = 0; i < MOST_OPEN; i++) {
		if (open_maps[i])
			close(open_maps[i]);
		open_maps[i] = 0;
	}
	pthread_mutex_unlock(&changing);
}

void collapse_stop(struct collapse *collapse, const char *why, int err)
{
	if (collapse->result.stopped)
		return;
	collapse->result.stopped = why;
	collapse->result.err = err;
}

/* ---------------------------------------------------------------------------- how much is huge */

static uint64_t bytes_in(const char *rollup, const char *name)
{
	const char *at = strstr(rollup, name);

	if (!at)
		return 0;
	at += strlen(name);
	while (*at == ' ')
		at++;
	return parse_decimal(&at) * 1024;
}

/* Returns 0, or -1 with errno set. */
static int read_amounts(uint64_t *huge, uint64_t *private)
{
	char rollup[ROLLUP];
	long size = read_file(AT_FDCWD, "/proc/thread-self/smaps_rollup", rollup, sizeof(rollup) - 1);

	if (size < 0)
		return -1;
	rollup[size] = '\0';
	*huge = bytes_in(rollup, "\nAnonHugePages:");
	*private = bytes_in(rollup, "\nAnonymous:");
	return 0;
}

/* ------------------------------------------------------------------------- whether it can be done */

/* Returns 0 or an errno. EAGAIN is of the moment: a page was just being moved, see madvise(2). */
static int collapse_pages(void *start, size_t size)
{
	int err = EAGAIN;

	for (int i = 0; i < ATTEMPTS && err == EAGAIN; i++)
		err = madvise(start, size, MADV_COLLAPSE) ? errno : 0;
	return err;
}

/* Ask the kernel for one of our own: what it permits depends on its version and its options. */
static int try_one(void)
{
	char *memory = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *huge;
	int err;

	if (memory == MAP_FAILED)
		return ENOMEM;
	huge = (char *)(((uintptr_t)memory + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
	*(volatile char *)huge = 1;
	err = collapse_pages(huge, HUGE);
	munmap(memory, 2 * HUGE);
	return err;
}

/* EINVAL, and EAGAIN at the last attempt, are of that memory: userfaultfd(2), pinned, or gone. */
static bool lacks_memory(int err)
{
	return err == ENOMEM || err == EBUSY;
}

static const char *why_not(int *err)
{
	int disabled;

	*err = 0;
	if (getauxval(AT_PAGESZ) != PAGE)
		return "page-size";
	disabled = prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0);
	if (disabled > 0 && !(disabled & EXCEPT_ADVISED))
		return "disabled";
	*err = try_one();
	if (*err == EINVAL)
		return "unsupported";
	if (*err && !lacks_memory(*err))
		return "refused"; /* by a filter of system calls */
	return *err ? "failed" : NULL;
}

/* ------------------------------------------------------------------------------------ the memory */

static uintptr_t up(uintptr_t address)
{
	return (address + HUGE - 1) & ~(uintptr_t)(HUGE - 1);
}

/* The field behind the next space. */
static const char *next_field(const char *at)
{
	while (*at && *at != ' ' && *at != '\n')
		at++;
	return *at == ' ' ? at + 1 : at;
}

static const char *next_row(const char *at)
{
	const char *end = strchr(at, '\n');

	return end ? end + 1 : NULL;
}

/* Private, writable, without a file, and no stack of the main thread: see proc(5), maps. */
static bool is_ordinary(const char *permissions)
{
	const char *inode = next_field(next_field(next_field(permissions)));
	const char *name = next_field(inode);

	if (permissions[0] != 'r' || permissions[1] != 'w' || permissions[3] != 'p' || *inode != '0')
		return false;
	while (*name == ' ')
		name++;
	return strncmp(name, "[stack", 6) != 0;
}

/* Go to the next mapping that holds whole huge pages; false behind the last one. */
static bool next_mapping(struct collapse *collapse)
{
	while (collapse->row && *collapse->row) {
		const char *at = collapse->row;
		uintptr_t start = parse_hex(&at);
		uintptr_t end = (at++, parse_hex(&at));

		collapse->row = next_row(at);
		collapse->at = up(start);
		collapse->end = end & ~(uintptr_t)(HUGE - 1);
		if (collapse->at < collapse->end && is_ordinary(at + 1))
			return true;
	}
	return false;
}

/* Where the next page is that is present: a reservation may be of terabytes. */
static uintptr_t next_present(int pages, uintptr_t at, uintptr_t end)
{
	struct page_region found = {.start = end};
	struct pm_scan_arg scan = {.size = sizeof(scan),
				   .start = at,
				   .end = end,
				   .vec = (uintptr_t)&found,
				   .vec_len = 1,
				   .max_pages = 1,
				   .category_mask = PAGE_IS_PRESENT,
				   .return_mask = PAGE_IS_PRESENT};

	if (ioctl(pages, PAGEMAP_SCAN, &scan) < 0)
		return at; /* before Linux 6.7 */
	return (uintptr_t)found.start & ~(uintptr_t)(HUGE - 1);
}

enum suitability { SUITABLE, SPARSE, ABSENT, SHARED };

/* What would become one huge page; *absent: the pages that it would add. */
static enum suitability judge(int pages, uintptr_t at, uint64_t *absent)
{
	uint64_t entries[PAGES];
	uint64_t present = 0;

	if (pread(pages, entries, sizeof(entries), (off_t)(at / PAGE * 8)) != sizeof(entries))
		return ABSENT;
	for (size_t i = 0; i < PAGES; i++) {
		if (!(entries[i] & ENTRY_PRESENT))
			continue;
		if (entries[i] & ENTRY_FILE || !(entries[i] & ENTRY_EXCLUSIVE))
			return SHARED; /* or a page of zeros, never written */
		present++;
	}
	*absent = PAGES - present;
	if (!present)
		return ABSENT;
	return present < LEAST_PRESENT ? SPARSE : SUITABLE;
}

/* The size of what can be collapsed at the current place, as much as a step takes; 0 if nothing. */
static size_t suitable_size(struct collapse *collapse)
{
	size_t size = 0;
	uint64_t absent;

	while (size < STEP && collapse->at + size < collapse->end &&
	       judge(collapse->pages, collapse->at + size, &absent) == SUITABLE) {
		size += HUGE;
		collapse->grown += absent * PAGE;
	}
	return size;
}

/* Pass over a huge page's worth of memory, and over all that is absent behind it. */
static void pass_over(struct collapse *collapse)
{
	uint64_t absent;
	enum suitability found = judge(collapse->pages, collapse->at, &absent);

	if (found == SHARED)
		collapse->result.shared += HUGE;
	collapse->at += HUGE;
	if (found == ABSENT && collapse->at < collapse->end)
		collapse->at = next_present(collapse->pages, collapse->at, collapse->end);
}

/* ------------------------------------------------------------------------------------- the steps */

static void note_step(struct collapse *collapse, int err, uint64_t duration)
{
	struct collapse_result *result = &collapse->result;

	result->steps++;
	if (duration > result->longest_ns)
		result->longest_ns = duration;
	collapse->failures = lacks_memory(err) ? collapse->failures + 1 : 0;
	if (collapse->failures == MOST_FAILURES)
		collapse_stop(collapse, "failed", err);
	if (duration > collapse->limits.stall_ns)
		collapse_stop(collapse, "stall", 0);
}

static void make_step(struct collapse *collapse, size_t size)
{
	uint64_t began = now_ns();
	int err = collapse_pages((void *)collapse->at, size);

	note_step(collapse, err, now_ns() - began);
	if (err == EINVAL)
		collapse->refused = collapse->at;
	collapse->at += size;
}

bool collapse_next(struct collapse *collapse)
{
	size_t size;

	if (collapse->result.stopped)
		return false;
	if (collapse->at >= collapse->end && !next_mapping(collapse))
		return false;
	if (now_ns() - collapse->began_ns > collapse->limits.total_ns) {
		collapse_stop(collapse, "time", 0);
		return false;
	}
	size = suitable_size(collapse);
	if (collapse->grown + size > collapse->limits.room)
		collapse_stop(collapse, "memory", 0); /* a step also needs the new page beside the old ones */
	else if (size)
		make_step(collapse, size);
	else
		pass_over(collapse);
	return true;
}

/* Whether the flags in a mapping's rows of smaps, see proc(5), have MADV_NOHUGEPAGE. */
static bool has_advice(const char *rows)
{
	const char *flags = strstr(rows, "\nVmFlags:");
	const char *advice = flags ? strstr(flags, " nh") : NULL;

	return advice && advice < strchr(flags + 1, '\n');
}

/* Whether the program has advised against huge pages there. Reads much, and is rarely asked. */
static bool is_kept_small(uintptr_t address)
{
	struct text text = {.data = NULL};
	const char *row;
	bool found = false;

	if (text_add_file(&text, "/proc/thread-self/smaps"))
		return false;
	text_add_bytes(&text, "", 1);
	for (row = text.data; row && *row && !found; row = next_row(row)) {
		const char *at = row;
		uintptr_t start = parse_hex(&at);

		if (*at++ == '-' && start <= address && address < parse_hex(&at))
			found = has_advice(at);
	}
	text_free(&text);
	return found;
}

/* Returns 0, or -1 with errno set. */
static int open_own(struct collapse *collapse)
{
	collapse->pages = open_map();
	if (collapse->pages < 0 ||
	    read_amounts(&collapse->result.huge_before, &collapse->result.private_after))
		return -1;
	collapse->result.huge_after = collapse->result.huge_before;
	if (text_add_file(&collapse->map, "/proc/thread-self/maps"))
		return -1;
	text_add_bytes(&collapse->map, "", 1);
	collapse->row = collapse->map.data;
	return 0;
}

void collapse_begin(struct collapse *collapse, const struct collapse_limits *limits)
{
	uint64_t room = cgroup_room();
	const char *why;
	int err;

	*collapse = (struct collapse){.limits = *limits, .pages = -1, .began_ns = now_ns()};
	room = room < limits->room ? room : limits->room;
	collapse->limits.room = room > LEFT_FREE ? room - LEFT_FREE : 0;
	if (open_own(collapse)) {
		collapse_stop(collapse, "unreadable", errno);
		return;
	}
	why = why_not(&err);
	if (why)
		collapse_stop(collapse, why, err);
}

void collapse_end(struct collapse *collapse)
{
	struct collapse_result *result = &collapse->result;

	if (collapse->refused && is_kept_small(collapse->refused))
		collapse_stop(collapse, "advised", 0);
	if (result->steps)
		read_amounts(&result->huge_after, &result->private_after);
	result->total_ns = now_ns() - collapse->began_ns;
	text_free(&collapse->map);
	close_map(collapse->pages);
}
