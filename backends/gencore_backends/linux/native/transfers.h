/* SPDX-License-Identifier: Apache-2.0 */
/* Completes transfers that our signal has cut short. */
#ifndef GENCORE_TRANSFERS_H
#define GENCORE_TRANSFERS_H

#include <stdatomic.h>

#include "calls.h"

/*
 * Move what an interrupted call has not moved yet, as the kernel would have done if nobody had
 * interrupted it: until all is moved, or the call fails, or a signal of the application ends it.
 *
 * *moved* is what it returned. *ours* counts our own signals: an early return during which it has
 * grown is no reason to stop. Returns what the call shall return. For the thread's own use, with
 * the application's signals let through; errno is not kept.
 */
long transfer_complete(const struct blocking_call *call, const unsigned long *args, long moved,
		       const _Atomic uint32_t *ours);

#endif
