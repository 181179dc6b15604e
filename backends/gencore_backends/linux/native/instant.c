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

#include "borrowed_signal.h"
#include "clock.h"
#include "descriptors.h"
#include "kernel_abi.h"
#include "proc_text.h"
#include "scheduling.h"
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
	image->cpus = online_processors(); /* the pause is not to wait for that */
}

/* Threads stand still from the first line to threads_release(). Returns 0, or -1 with errno set. */
static int stop_and_clone(struct image *image, struct snapshot *ret, enum snapshot_step *step)
{
	uint64_t begin = now_ns();
	uint64_t stopped, cloned;
	int err;

	*step = STEP_STOP_THREADS;
	if (threads_stop(image->order->threads, image->order->timeout_ms, &image->threads))
		return -1;
	*step = STEP_CLONE;
	stopped = now_ns();
	image->stop_ns = stopped - begin;
	image->mapped = mapped_pages();
	ret->pid = (pid_t)clone_image(image, &ret->pidfd);
	err = errno;
	/* At once: it may be long until it runs, and the service's group may be killed until then. */
	if (ret->pid > 0)
		syscall(SYS_setpgid, ret->pid, ret->pid);
	threads_check(&image->threads);
	cloned = now_ns();
	threads_release();
	ret->stop_ns = image->stop_ns;
	ret->clone_ns = cloned - stopped;
	ret->release_ns = now_ns() - cloned;
	ret->threads = image->threads;
	errno = err;
	return ret->pid < 0 ? -1 : 0;
}

/*
 * All signals that are not ignored, but for that of threads.c, are blocked around the clone: a
 * handler of the application must not run in the child before the child has put its own
 * dispositions in place. So is SIGCONT: the kernel would throw it away if it came before the child
 * waits for it, see clone_await_release(). The mask is this thread's own. Another signal of
 * threads.c may be chosen while threads are stopped.
 */
static int take_with_signals_blocked(struct image *image, struct snapshot *ret,
				     struct step_failure *failure)
{
	kernel_sigset mask = signals_to_hold() | signal_bit(SIGCONT);
	kernel_sigset old;
	enum snapshot_step step;
	int result;

	if (set_mask(&mask, &old))
		return failed(failure, STEP_BLOCK_SIGNALS);
	result = stop_and_clone(image, ret, &step);
	if (result)
		failed(failure, step);
	threads_yield_signals(old);
	set_mask(&old, NULL);
	threads_main_has_signals();
	return result;
}

int snapshot_take(const struct snapshot_order *order, struct snapshot *ret,
		  struct step_failure *failure)
{
	struct image image = {.order = order};
	int status[2];
	int result;

	if (pipe_above_standard_streams(status))
		return failed(failure, STEP_PIPE);
	image.status_fd = status[1];
	/* Without a pidfd (seccomp) the clone asks for its parent. */
	image.reader = order->reader >= 0 ? order->reader : (int)syscall(SYS_pidfd_open, getpid(), 0);
	note_ids(&image);
	if (threads_prepare(order->threads))
		result = failed(failure, STEP_PREPARE_THREADS);
	else
		result = take_with_signals_blocked(&image, ret, failure);
	threads_finish(&image.threads);
	ret->threads = image.threads;
	close(status[1]);
	if (image.reader >= 0 && image.reader != order->reader)
		close(image.reader);
	if (result) {
		close(status[0]);
		return result;
	}
	ret->status_fd = status[0];
	ret->pidfd = above_standard_streams(ret->pidfd); /* one was just closed: it has room */
	return 0;
}
