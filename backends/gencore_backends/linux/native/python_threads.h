/* SPDX-License-Identifier: Apache-2.0 */
/* The interpreter's list of threads, as it stood at the instant. */
#ifndef GENCORE_PYTHON_THREADS_H
#define GENCORE_PYTHON_THREADS_H

#include <stdint.h>

#include "peek.h"
#include "snapshot.h"

/*
 * Runs in the child. Replace *kept* by the same ranges and those of every thread state, in order
 * and without overlaps. *state* is any PyThreadState, or 0. Returns 0, or -1 with errno set.
 */
int clone_keep_thread_states(const struct peek *peek, uintptr_t state, struct ranges *kept);

#endif
