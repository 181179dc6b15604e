/* SPDX-License-Identifier: Apache-2.0 */
/* Clones that a killed tracer has left: zombies that their parent does not know of. */
#ifndef GENCORE_LEFT_CLONES_H
#define GENCORE_LEFT_CLONES_H

#include <stdbool.h>
#include <sys/types.h>

#include "injection.h"

/*
 * The exit signal of our clones, by which they are known among the children of a process. It is no
 * signal, so that none is sent: the kernel sends but valid ones, and takes any number from clone(2).
 */
#define MARK_OF_CLONES 0x47

/* Let a process forget a child that has ended, by its ID as the process itself sees it. */
bool reap_in(pid_t process, pid_t child_inside, const struct found_code *code);

/*
 * Let a process forget all clones that nobody holds any more. Returns how many are left: they have
 * not ended yet, or the process cannot be traced now.
 */
int reap_left_clones(pid_t process);

#endif
