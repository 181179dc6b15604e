// SPDX-License-Identifier: Apache-2.0
/*
 * Interpreters with a GIL of their own, and the agent, ask at the same time: one after the other.
 * Who waits here is stopped and released like any other thread.
 */
#define _GNU_SOURCE
#include "turn.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * A process ID and a thread ID: a child that was forked meanwhile finds its parent's, and a thread
 * its own.
 */
static _Atomic uint64_t holder;

uint64_t turn_take(void)
{
	const struct timespec glance = {.tv_nsec = 100000};
	const uint64_t process = (uint64_t)getpid() << 32;
	const uint64_t self = process | (uint32_t)syscall(SYS_gettid);
	uint64_t before = 0;

	while (!atomic_compare_exchange_strong(&holder, &before, self) && before != self)
		if (before >> 32 == process >> 32) {
			nanosleep(&glance, NULL);
			before = 0;
		}
	return before == self ? self : 0;
}

void turn_give_back(uint64_t before)
{
	atomic_store(&holder, before);
}
