// SPDX-License-Identifier: Apache-2.0
/*
 * All but the first function run in the child; the contract of after_fork.c holds.
 *
 * The rule is that of SCHED_RESET_ON_FORK (sched(7)): a real-time or deadline policy becomes
 * SCHED_OTHER, a negative nice value 0; what is below ordinary stays. Each value is looked at
 * before it is changed, because services are often forbidden to change them, on pain of death
 * (systemd.exec(5), SystemCallFilter=~@resources).
 */
#define _GNU_SOURCE
#include "scheduling.h"

#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	SET_WORDS = 128,	    /* 8,192 processors, as many as a kernel is built for */
	RAW_NICE_0 = 20,	    /* the system call returns 20 - nice; see getpriority(2) */
	IOPRIO_WHO_PROCESS = 1,	    /* linux/ioprio.h */
	IOPRIO_CLASS_RT = 1,
	IOPRIO_CLASS_SHIFT = 13,
};

long online_processors(void)
{
	static long count;

	if (!count)
		count = sysconf(_SC_NPROCESSORS_ONLN);
	return count;
}

static void clone_leave_real_time(void)
{
	const struct sched_param none = {0};
	long policy = syscall(SYS_sched_getscheduler, 0);

	if (policy == SCHED_FIFO || policy == SCHED_RR || policy == SCHED_DEADLINE)
		syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &none);
}

static void clone_leave_affinity(long cpus)
{
	uint64_t set[SET_WORDS] = {0};
	long size = syscall(SYS_sched_getaffinity, 0, sizeof(set), set);
	long here = 0;

	for (size_t i = 0; i < SET_WORDS; i++)
		here += __builtin_popcountll(set[i]);
	if (size < 0 || here >= cpus)
		return;
	for (size_t i = 0; i < SET_WORDS; i++)
		set[i] = ~(uint64_t)0;
	/* the kernel takes away what a cpuset does not allow */
	syscall(SYS_sched_setaffinity, 0, sizeof(set), set);
}

void clone_reset_scheduling(long cpus)
{
	clone_leave_real_time();
	if (syscall(SYS_getpriority, PRIO_PROCESS, 0) > RAW_NICE_0)
		syscall(SYS_setpriority, PRIO_PROCESS, 0, 0);
	if (syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) >> IOPRIO_CLASS_SHIFT == IOPRIO_CLASS_RT)
		syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, 0);
	clone_leave_affinity(cpus);
}
