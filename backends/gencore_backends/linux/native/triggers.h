/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at this process from time to time, and has it dumped when it is in need. Needs no GIL. */
#ifndef GENCORE_TRIGGERS_H
#define GENCORE_TRIGGERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cgroup_memory.h"
#include "requester.h"

enum trigger_kind {
	MEMORY_SHARE, /* thousandths of the limit */
	MEMORY_SIZE,  /* bytes that are resident */
	GIL_STALL,    /* nanoseconds */
	LOOP_STALL,
	ASKED_BY_SIGNAL, /* its number */
	ASKED_BY_EXCEPTION,
	CPU_SHARE, /* thousandths of one CPU */
	THREAD_COUNT,
	DESCRIPTOR_COUNT,
	TRIGGER_KINDS,
};

extern const char *const trigger_names[TRIGGER_KINDS];

struct trigger {
	enum trigger_kind kind;
	uint64_t above;
	uint64_t hold_ns;     /* how long it has to be above */
	uint64_t interval_ns; /* between two dumps */
	uint64_t count;	      /* of dumps */
};

enum { TRIGGERS = 32, BEATS = 64 };

/* In the place of the time at which a beat is due. */
#define BEAT_UNUSED 0ull
#define BEAT_SUSPENDED UINT64_MAX

/*
 * Set them anew; none with a count of 0. Everything is copied, but the requester becomes theirs.
 * To be called while the agent's thread does not run. Returns 0, or -1 with errno set: EBUSY where
 * the signal has a handler.
 */
int triggers_set(const struct trigger *rows, size_t count, const struct cgroup_files *files,
		 const struct requester *requester);

void triggers_end(void);

/* In a child of fork(2): they are as new. */
void triggers_after_fork(void);

/* For the agent's loop: what to wait for (0: nothing), and how many milliseconds (-1: for ever). */
int triggers_asked_fd(void);
int triggers_requester_fd(void);
int triggers_patience(void);

/* What the agent's loop calls after it has waited. */
void triggers_look(void);
void triggers_requester_ended(void);
void triggers_captured(void);

/* A beat says when the next one is due, by CLOCK_MONOTONIC. The first one is the GIL's. */
int triggers_new_beat(void); /* -1: too many */
void triggers_beat(int beat, uint64_t due_ns);

/*
 * Have an exception's dump made, and wait until the process is captured, or is not going to be:
 * *limit_ms* at most. Does nothing without a trigger for it.
 */
void triggers_ask(const char *text, uint64_t limit_ms);

#endif
