/* SPDX-License-Identifier: Apache-2.0 */
/* A clone of another process, and the thread of this one that holds it by ptrace(2). */
#ifndef GENCORE_TRACER_H
#define GENCORE_TRACER_H

#include <stdbool.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/types.h>

#include "tracees.h"

/* What can fail. module_tracer.c names them. */
enum trace_step {
	TRACE_START,
	TRACE_ATTACH,
	TRACE_FIND_CODE,
	TRACE_STOP,
	TRACE_CHOOSE,
	TRACE_INJECT,
	TRACE_CLONE,
	TRACE_CHILD,
	TRACE_STEPS,
};

struct trace {
	/* Asked for: */
	pid_t pid;
	bool all; /* also stop threads whose call cannot be resumed exactly */
	unsigned int timeout_ms;
	/* The result: */
	bool failed;
	enum trace_step step;
	int err;
	pid_t child;
	uint64_t stop_ns, clone_ns, release_ns;
	const struct tracees *tracees;
	int control; /* a byte that is written here ends the clone */
	int done;    /* then one can be read here: 1 if nothing is left of it, 0 for a zombie */
	sem_t *described;
};

/*
 * Take it. Blocks until the process runs again, and makes no call of CPython. Returns 0, or -1 with
 * failed, step and err set; after it trace_described() must follow, if described is not NULL.
 */
int trace_take(struct trace *trace);

/*
 * What tracees points to was read. If the clone is kept, both descriptors are the caller's to close;
 * otherwise it is ended, and waited for.
 */
void trace_described(struct trace *trace, bool keep);

#endif
