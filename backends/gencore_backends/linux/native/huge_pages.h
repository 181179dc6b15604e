/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collapses this process's own memory into huge pages: a clone copies one entry of the page tables for
 * each instead of 512, and the pause is little else. Needs no GIL, no lock and no malloc.
 */
#ifndef GENCORE_HUGE_PAGES_H
#define GENCORE_HUGE_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

struct collapse_limits {
	uint64_t total_ns; /* for everything */
	uint64_t stall_ns; /* for a step: other threads may wait for it */
	uint64_t room;	   /* bytes that are free, of which some stay so; its cgroups may have fewer */
};

/* In bytes where nothing else is said. */
struct collapse_result {
	uint64_t huge_before;
	uint64_t huge_after;
	uint64_t private_after; /* private memory of any pages */
	uint64_t shared;	/* passed over: another process has the same pages */
	uint64_t steps;
	uint64_t longest_ns;
	uint64_t total_ns;
	const char *stopped; /* why there is more to do, in a word; or NULL */
	int err;	     /* what the kernel said to that, or 0 */
};

/* One that is under way. */
struct collapse {
	struct collapse_limits limits;
	struct collapse_result result;
	struct text map;
	const char *row;      /* of the map, the next one */
	uintptr_t at, end;    /* what is left of a mapping, in whole huge pages */
	int pages;	      /* /proc/PID/pagemap, or -1 */
	int failures;	      /* in a row */
	uintptr_t refused;    /* a place that the kernel refused, or 0 */
	uint64_t grown;
	uint64_t began_ns;
};

void collapse_begin(struct collapse *collapse, const struct collapse_limits *limits);

/* Make a step: 4 MiB at most. Returns false where nothing is left, or it was stopped. */
bool collapse_next(struct collapse *collapse);

/* Stop for a reason, in a word, unless there was one before. */
void collapse_stop(struct collapse *collapse, const char *why, int err);

/* Around a fork(2), and in its child, which goes on without the thread that collapses. */
void collapse_before_fork(void);
void collapse_after_fork_in_parent(void);
void collapse_after_fork(void);

/* Let go of everything but the result. */
void collapse_end(struct collapse *collapse);

#endif
