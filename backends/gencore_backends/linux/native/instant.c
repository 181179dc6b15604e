// SPDX-License-Identifier: Apache-2.0
/*
 * The instant: every thread stands still, and a bare clone() copies the process.
 *
 * No function of CPython is called in this file, so that a thread that does not hold the GIL can
 * use it too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "clock.h"
#include "kernel_abi.h"
#include "snapshot.h"

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

/* The image's frame must stay what its registers say: nothing else is called between the two. */
static __attribute__((noinline)) long clone_image(struct image *image, int *pidfd)
{
	long pid;

	arch_registers_here(&image->caller);
	pid = clone_process(pidfd);
	if (pid == 0)
		clone_main(image);
	return pid;
}

static void note_ids(struct image *image)
{
	image->pid = getpid();
	image->ppid = getppid();
	image->pgrp = getpgrp();
	image->sid = getsid(0);
	image->uid = getuid();
	image->gid = getgid();
	image->cpus = sysconf(_SC_NPROCESSORS_ONLN);
}

/* Threads are stopped from the first line to the last. */
static long stop_and_clone(struct image *image, struct snapshot *ret)
{
	uint64_t begin = now_ns();
	uint64_t stopped, cloned;
	long pid;
	int err;

	threads_stop(image->order->threads, image->order->timeout_ms, &image->threads);
	stopped = now_ns();
	image->stop_ns = stopped - begin;
	pid = clone_image(image, &ret->pidfd);
	err = errno;
	cloned = now_ns();
	threads_release();
	ret->stop_ns = image->stop_ns;
	ret->clone_ns = cloned - stopped;
	ret->release_ns = now_ns() - cloned;
	ret->threads = image->threads;
	errno = err;
	return pid;
}

/*
 * All signals but that of threads.c are blocked around the clone: a handler of the application
 * must not run in the child before the child has put its own dispositions in place. The mask is
 * this thread's own.
 */
static int take_with_signals_blocked(struct image *image, struct snapshot *ret,
				     struct step_failure *failure)
{
	kernel_sigset mask = ~(kernel_sigset)0;
	kernel_sigset old;
	long pid;

	if (threads_signal() > 0)
		mask &= ~((kernel_sigset)1 << (threads_signal() - 1));
	if (set_mask(&mask, &old))
		return failed(failure, STEP_BLOCK_SIGNALS);
	pid = stop_and_clone(image, ret);
	if (pid < 0)
		failed(failure, STEP_CLONE);
	set_mask(&old, NULL);
	ret->pid = (pid_t)pid;
	return pid < 0 ? -1 : 0;
}

int snapshot_take(const struct snapshot_order *order, struct snapshot *ret,
		  struct step_failure *failure)
{
	struct image image = {.order = order};
	int status[2];
	int result;

	if (pipe2(status, O_CLOEXEC))
		return failed(failure, STEP_PIPE);
	image.status_fd = status[1];
	/* The reader is this process. Without a pidfd (seccomp) the clone asks for its parent. */
	image.reader = (int)syscall(SYS_pidfd_open, getpid(), 0);
	note_ids(&image);
	if (threads_prepare(order->threads)) {
		result = failed(failure, STEP_PREPARE_THREADS);
	} else {
		result = take_with_signals_blocked(&image, ret, failure);
		threads_finish(&ret->threads);
	}
	close(status[1]);
	if (image.reader >= 0)
		close(image.reader);
	if (result)
		close(status[0]);
	else
		ret->status_fd = status[0];
	return result;
}
