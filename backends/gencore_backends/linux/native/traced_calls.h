/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a blocking system call when a tracer stops its thread: no handler runs, so that
 * the kernel resumes most of them exactly, also those that end with EINTR after a signal.
 */
#ifndef GENCORE_TRACED_CALLS_H
#define GENCORE_TRACED_CALLS_H

#include <stdbool.h>

#include "threads.h"

/*
 * Why a thread in this call is better read than stopped; REASON_NONE if it may be stopped.
 * *pidfd*: of its process, whose socket options decide.
 */
enum thread_reason traced_call_obstacle(const struct thread_call *call, int pidfd);

/* Whether a call that a stop has ended with EINTR has done nothing yet, and can be run again. */
bool traced_call_can_run_again(const struct thread_call *call);

#endif
