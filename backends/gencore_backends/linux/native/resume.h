/* SPDX-License-Identifier: Apache-2.0 */
/* Lets a stopped thread go on as if nobody had interrupted its system call. */
#ifndef GENCORE_RESUME_H
#define GENCORE_RESUME_H

#include <stdatomic.h>
#include <stdbool.h>
#include <ucontext.h>

#include "calls.h"
#include "threads.h"

/* What our signal did to a thread's system call. */
enum interruption {
	NOT_IN_CALL,	 /* nothing, or it was the application's own signal that ended the call */
	KERNEL_RESTARTS, /* the context is back on the call already */
	WAS_SET_BACK,	 /* we have put it back there */
	LEFT_TO_CALLER,	 /* it ends with EINTR: CPython calls again, or it is not ours */
	CUT_SHORT,	 /* it may have moved less than it would have */
};

struct interrupted_call {
	enum interruption how;
	const struct blocking_call *call; /* NULL if it is not known */
	unsigned long args[CALL_ARGUMENTS];
	long result;
	bool handled; /* a handler of the application has run that ends such a call */
};

/*
 * In the handler, first: find out what was interrupted, and set the context back onto it where
 * nobody else does. *thread* has what was known of the call before.
 */
void resume_examine(const struct thread *thread, ucontext_t *context, struct interrupted_call *ret);

/*
 * Run the handlers of the application's signals that are pending here, in our handler, where their
 * effect is known, and note it.
 */
void resume_run_handlers(struct interrupted_call *interrupted, const ucontext_t *context);

/* The signals that the interrupted code blocks. */
uint64_t resume_mask(const ucontext_t *context);

/* Let signals through like the interrupted code. Returns what was blocked until now. */
uint64_t resume_unblock(const ucontext_t *context);

/*
 * After the stop: run the handlers of the application's signals that came meanwhile, and let the
 * call end as it would have.
 */
void resume_finish(struct interrupted_call *interrupted, ucontext_t *context, uint64_t stopped_ns);

/*
 * Last, and perhaps for long: move what the call has not moved because of us. *ours* changes with
 * each stop of this process.
 */
void resume_transfer(const struct interrupted_call *interrupted, ucontext_t *context,
		     const _Atomic uint32_t *ours);

/*
 * The application's signals that are pending for this thread or for the process, and that the
 * interrupted code does not block. A bit mask; signal 1 is bit 0.
 */
uint64_t resume_pending(const ucontext_t *context);

#endif
