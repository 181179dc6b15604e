/* SPDX-License-Identifier: Apache-2.0 */
/* The clock that phases and waits are measured with. */
#ifndef GENCORE_CLOCK_H
#define GENCORE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds of CLOCK_MONOTONIC. Safe in a signal handler. */
static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
