/* SPDX-License-Identifier: Apache-2.0 */
/* One capture at a time: threads, signals and the table of threads are the process's. */
#ifndef GENCORE_TURN_H
#define GENCORE_TURN_H

#include <stdint.h>

/*
 * Wait for the turn and take it. Returns what turn_give_back() is to be given: 0, or the calling
 * thread, where a finalizer or a signal handler asks in the middle of that thread's own turn.
 */
uint64_t turn_take(void);

void turn_give_back(uint64_t before);

#endif
