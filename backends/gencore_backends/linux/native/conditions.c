// SPDX-License-Identifier: Apache-2.0
/*
 * System calls and arithmetic only. Time counts only as far as the agent itself was running: a
 * process that was stopped, or a machine that slept, has not hung.
 */
#define _GNU_SOURCE
#include "conditions.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "descriptors.h"
#include "proc_text.h"

#define SECOND 1000000000ull
#define MIB (1024ull * 1024)

#define MOST_ELAPSED (SECOND / 2) /* between two looks, by which the process has run meanwhile */

/* ------------------------------------------------------------------------------------- memory */

struct memory {
	uint64_t used;
	uint64_t limit; /* 0: none */
	const char *unit;
};

/* Bytes of a field of statm, see proc(5): the address space, or what is resident. */
static uint64_t read_size(int field)
{
	char text[128];
	const char *at = text;
	long length = read_file(AT_FDCWD, "/proc/thread-self/statm", text, sizeof(text) - 1);

	if (length <= 0)
		return 0;
	text[length] = '\0';
	for (; field; field--) {
		parse_decimal(&at);
		at += *at == ' ';
	}
	return parse_decimal(&at) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t resident(void)
{
	return read_size(1);
}

static struct memory of_cgroup(const struct cgroup_files *files)
{
	struct memory memory = {.unit = " MiB"};

	if (!cgroup_read(files, &memory.used, &memory.limit))
		return (struct memory){.limit = 0};
	return memory;
}

static struct memory of_machine(void)
{
	struct sysinfo machine;

	sysinfo(&machine);
	return (struct memory){resident(), (uint64_t)machine.totalram * machine.mem_unit, " MiB"};
}

/* Of what setrlimit(2) allows: an allocation beyond it fails, though there is memory. */
static struct memory of_address_space(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return (struct memory){.limit = 0};
	return (struct memory){read_size(0), limit.rlim_cur, " MiB of address space"};
}

static uint64_t share_of(const struct memory *memory)
{
	return memory->limit ? memory->used * 1000 / memory->limit : 0;
}

/* Of the limit that is reached first. */
static struct memory read_memory(const struct cgroup_files *files)
{
	struct memory physical = of_cgroup(files), addresses = of_address_space();

	if (!physical.limit)
		physical = of_machine();
	return share_of(&addresses) > share_of(&physical) ? addresses : physical;
}

static void add_amount(struct text *text, uint64_t number, const char *unit)
{
	text_add_number(text, number);
	text_add(text, unit);
}

static uint64_t memory_share(const struct look *look, struct text *seen)
{
	struct memory memory = read_memory(look->files);

	add_amount(seen, memory.used / MIB, " of ");
	add_amount(seen, memory.limit / MIB, memory.unit);
	return share_of(&memory);
}

static uint64_t memory_size(const struct look *look, struct text *seen)
{
	uint64_t size = resident();

	(void)look;
	add_amount(seen, size / MIB, " MiB are resident");
	return size;
}

/* ------------------------------------------------------------------------------------- stalls */

/* When the next one is due; and for how long the same one has been overdue. */
static struct {
	_Atomic uint64_t due;
	uint64_t last;
	uint64_t overdue;
} beats[BEATS];

int triggers_new_beat(void)
{
	for (int i = 1; i < BEATS; i++) {
		uint64_t unused = BEAT_UNUSED;

		if (atomic_compare_exchange_strong(&beats[i].due, &unused, BEAT_SUSPENDED))
			return i;
	}
	return -1;
}

void triggers_beat(int beat, uint64_t due_ns)
{
	atomic_store(&beats[beat].due, due_ns);
}

static void look_at_beats(uint64_t elapsed)
{
	uint64_t now = now_ns();

	for (int i = 0; i < BEATS; i++) {
		uint64_t due = atomic_load(&beats[i].due);
		bool late = due != BEAT_UNUSED && due <= now && due == beats[i].last;

		beats[i].overdue = late ? beats[i].overdue + elapsed : 0;
		beats[i].last = due;
	}
}

static uint64_t gil_stall(const struct look *look, struct text *seen)
{
	(void)look;
	add_amount(seen, beats[0].overdue / SECOND, " s without getting it");
	return beats[0].overdue;
}

static uint64_t loop_stall(const struct look *look, struct text *seen)
{
	uint64_t most = 0;

	(void)look;
	for (int i = 1; i < BEATS; i++)
		if (beats[i].overdue > most)
			most = beats[i].overdue;
	add_amount(seen, most / SECOND, " s without turning");
	return most;
}

/* ------------------------------------------------------------------------------------- counts */

static uint64_t cpu_share(const struct look *look, struct text *seen)
{
	add_amount(seen, look->cpu / 10, " % of one CPU");
	return look->cpu;
}

static uint64_t thread_count(const struct look *look, struct text *seen)
{
	int count = count_tasks();

	(void)look;
	add_amount(seen, count < 0 ? 0 : (uint64_t)count, " threads");
	return count < 0 ? 0 : (uint64_t)count;
}

static uint64_t descriptor_count(const struct look *look, struct text *seen)
{
	uint64_t count = count_descriptors();

	(void)look;
	add_amount(seen, count, " descriptors");
	return count;
}

/* ----------------------------------------------------------------------------------- one look */

static struct {
	uint64_t time;
	uint64_t cpu_time;
} last;

void conditions_reset(void)
{
	last.time = 0;
	for (int i = 0; i < BEATS; i++) {
		beats[i].last = beats[i].overdue = 0;
		if (beats[i].due != BEAT_UNUSED)
			beats[i].due = BEAT_SUSPENDED;
	}
}

static uint64_t cpu_now(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

void conditions_begin(struct look *look, const struct cgroup_files *files)
{
	uint64_t time = now_ns(), cpu_time = cpu_now();
	uint64_t elapsed = last.time ? time - last.time : 0;

	*look = (struct look){
		.elapsed_ns = elapsed < MOST_ELAPSED ? elapsed : MOST_ELAPSED,
		.cpu = elapsed ? (cpu_time - last.cpu_time) * 1000 / elapsed : 0,
		.files = files,
	};
	last.time = time;
	last.cpu_time = cpu_time;
	look_at_beats(look->elapsed_ns);
}

static uint64_t (*const conditions[TRIGGER_KINDS])(const struct look *, struct text *) = {
	[MEMORY_SHARE] = memory_share,
	[MEMORY_SIZE] = memory_size,
	[GIL_STALL] = gil_stall,
	[LOOP_STALL] = loop_stall,
	[CPU_SHARE] = cpu_share,
	[THREAD_COUNT] = thread_count,
	[DESCRIPTOR_COUNT] = descriptor_count,
};

uint64_t condition_measure(enum trigger_kind kind, const struct look *look, struct text *seen)
{
	return conditions[kind] ? conditions[kind](look, seen) : 0;
}
