/* SPDX-License-Identifier: Apache-2.0 */
/* One capture as the snapshot makes it, without the clone. */
#ifndef GENCORE_TESTS_CAPTURE_H
#define GENCORE_TESTS_CAPTURE_H

#include <pthread.h>
#include <signal.h>

#include "threads.h"

/*
 * Stop all threads, perhaps look at them while they are stopped, and let them go on.
 * Returns 0, or -1 if nothing could be prepared.
 */
static inline int capture_threads(enum thread_mode mode, struct thread_table *ret,
				  void (*look)(const struct thread_table *table))
{
	sigset_t mask, before;

	if (threads_prepare(mode))
		return -1;
	sigfillset(&mask);
	sigdelset(&mask, threads_signal());
	pthread_sigmask(SIG_SETMASK, &mask, &before);
	threads_stop(mode, 250, ret);
	if (look)
		look(ret);
	threads_release();
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	threads_finish(ret);
	return 0;
}

#endif
