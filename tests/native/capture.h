/* SPDX-License-Identifier: Apache-2.0 */
/* One capture as the snapshot makes it, without the clone. */
#ifndef GENCORE_TESTS_CAPTURE_H
#define GENCORE_TESTS_CAPTURE_H

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "borrowed_signal.h"
#include "threads.h"

/* Generous: on a busy machine a thread is late, but not missing. */
#ifndef CAPTURE_TIMEOUT_MS
#define CAPTURE_TIMEOUT_MS 5000
#endif

/*
 * Stop all threads, perhaps look at them while they are stopped, and let them go on.
 * Returns 0, or -1 if nothing could be prepared.
 */
static inline int capture_threads(enum thread_mode mode, struct thread_table *ret,
				  void (*look)(const struct thread_table *table))
{
	uint64_t held = signals_to_hold();
	uint64_t before;
	int result;

	*ret = (struct thread_table){.count = 0};
	if (threads_prepare(mode)) {
		threads_finish(ret);
		return -1;
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &held, &before, sizeof(held));
	result = threads_stop(mode, CAPTURE_TIMEOUT_MS, ret);
	if (!result && look)
		look(ret);
	if (!result) {
		threads_check(ret);
		threads_release();
	}
	threads_yield_signals(before);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
	threads_main_has_signals();
	threads_finish(ret);
	return result;
}

#endif
