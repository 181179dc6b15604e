// SPDX-License-Identifier: Apache-2.0
/*
 * The instant: a bare clone() of the calling process, between two reads of the clock.
 *
 * No function of CPython is called in this file, so that a thread that does not hold the GIL can
 * use it too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include "kernel_abi.h"
#include "snapshot.h"

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int failed(struct step_failure *failure, enum snapshot_step step)
{
	failure->step = step;
	failure->err = errno;
	return -1;
}

/*
 * Legacy clone, because container seccomp profiles answer ENOSYS to clone3. No exit signal: the
 * application gets no SIGCHLD, and its waitpid(-1) does not see the child (wait(2), __WCLONE). No
 * CLONE_CHILD_SETTID: the C library's thread descriptor keeps the parent's tid in the image.
 * The arguments behind the third are zero, so their order, which differs between architectures,
 * does not matter.
 */
static long clone_process(int *pidfd)
{
	return syscall(SYS_clone, (unsigned long)CLONE_PIDFD, NULL, pidfd, NULL, NULL);
}

static int set_mask(const kernel_sigset *set, kernel_sigset *old)
{
	return (int)syscall(SYS_rt_sigprocmask, SIG_SETMASK, set, old, sizeof(*set));
}

/*
 * All signals are blocked around the clone: a handler of the application must not run in the child
 * before the child has put its own dispositions in place. The mask is this thread's own.
 */
static int clone_with_signals_blocked(const struct snapshot_order *order, int status_fd,
				      struct snapshot *ret, struct step_failure *failure)
{
	const kernel_sigset all = ~(kernel_sigset)0;
	kernel_sigset old;
	uint64_t begin;
	long pid;

	if (set_mask(&all, &old))
		return failed(failure, STEP_BLOCK_SIGNALS);
	begin = now_ns();
	pid = clone_process(&ret->pidfd);
	if (pid == 0)
		after_fork_dump_core(order, status_fd);
	ret->clone_ns = now_ns() - begin;
	if (pid < 0)
		failed(failure, STEP_CLONE);
	set_mask(&old, NULL);
	ret->pid = (pid_t)pid;
	return pid < 0 ? -1 : 0;
}

int snapshot_clone(const struct snapshot_order *order, struct snapshot *ret,
		   struct step_failure *failure)
{
	int status[2];
	int result;

	if (pipe2(status, O_CLOEXEC))
		return failed(failure, STEP_PIPE);
	result = clone_with_signals_blocked(order, status[1], ret, failure);
	close(status[1]);
	if (result) {
		close(status[0]);
		return result;
	}
	ret->status_fd = status[0];
	return 0;
}
