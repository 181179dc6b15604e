/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a thread may be sent our signal where it is, and why not. */
#ifndef GENCORE_STOPPABLE_H
#define GENCORE_STOPPABLE_H

#include <stdbool.h>

#include "proc_text.h"
#include "threads.h"

/*
 * Whether the application uses our signal too: it is queued, or this thread blocks it or waits for
 * it by name. A thread that blocks every signal says nothing.
 */
bool thread_uses_our_signal(const struct thread *thread, const struct thread_status *status);

/* Decide from what /proc says of a thread just now, between memory_open() and memory_close(). */
enum thread_reason why_not_stop(const struct thread *thread, enum thread_mode mode,
				const struct thread_status *status);

#endif
