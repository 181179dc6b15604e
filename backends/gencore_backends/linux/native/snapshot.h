/* SPDX-License-Identifier: Apache-2.0 */
/* What the Python face, the clone and the code after the fork agree on. */
#ifndef GENCORE_SNAPSHOT_H
#define GENCORE_SNAPSHOT_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Every system call that can fail on either side of the clone has a step.
 * module.c names them in the same order; Python sees only the names.
 */
enum snapshot_step {
	STEP_PIPE,
	STEP_BLOCK_SIGNALS,
	STEP_CLONE,
	STEP_ENTER_DIRECTORY,
	STEP_CLOSE_DESCRIPTORS,
	STEP_COREDUMP_FILTER,
	STEP_CORE_LIMIT,
	STEP_FILE_SIZE_LIMIT,
	STEP_RESET_SIGNAL,
	STEP_UNBLOCK_SIGNAL,
	STEP_RAISE,
	STEP_COUNT,
};

/* A failed step. err is an errno value. The child sends one through its status pipe. */
struct step_failure {
	int32_t step;
	int32_t err;
};

/* What a snapshot is asked to do, and the descriptors it may use. */
struct snapshot_order {
	int directory_fd;		/* the core is written into this directory */
	unsigned int coredump_filter;	/* core(5), /proc/PID/coredump_filter */
};

/* A running snapshot, as its parent holds it. */
struct snapshot {
	pid_t pid;
	int pidfd;	/* readable when the child has ended; close-on-exec */
	int status_fd;	/* read end: empty, or one struct step_failure */
	uint64_t clone_ns;
};

/* Clone the calling process. Returns 0, or -1 with *failure filled in. */
int snapshot_clone(const struct snapshot_order *order, struct snapshot *ret,
		   struct step_failure *failure);

/* The child's whole life. See the contract in after_fork.c. */
_Noreturn void after_fork_dump_core(const struct snapshot_order *order, int status_fd);

#endif
