// SPDX-License-Identifier: Apache-2.0
/*
 * The code that runs in the forked child on macOS. Contract: system calls and Mach traps only, no
 * line of Python, no lock, no allocation; it never returns. See fork(2), CAVEATS. Every failure is
 * sent through the status pipe as (step, errno).
 *
 * Descriptors that macOS guards (guarded_open_np) are closed by the fork itself: close() here does
 * not meet them, which would be fatal.
 */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "regions.h"
#include "snapshot.h"

/* Runs in the child. */
static _Noreturn void fail(const struct snapshot_order *order, enum snapshot_step step)
{
	struct step_failure failure = {.step = step, .err = errno};

	(void)!write(order->status_fd, &failure, sizeof(failure));
	_exit(1);
}

/* Runs in the child. */
static int raise_to_hard_limit(int resource)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit))
		return -1;
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(resource, &limit);
}

/* Runs in the child: nobody is to see the service's sockets and pipes held open. */
static void close_all_but(int kept)
{
	for (int fd = 0; fd < getdtablesize(); fd++)
		if (fd != kept)
			close(fd);
}

/* Runs in the child: ends it, with a core if macOS writes one. */
static _Noreturn void die(const struct snapshot_order *order)
{
	sigset_t all_but_abort;

	if (signal(SIGABRT, SIG_DFL) == SIG_ERR)
		fail(order, STEP_RESET_SIGNAL);
	sigfillset(&all_but_abort);
	sigdelset(&all_but_abort, SIGABRT);
	if (sigprocmask(SIG_SETMASK, &all_but_abort, NULL))
		fail(order, STEP_UNBLOCK_SIGNAL);
	kill(getpid(), SIGABRT);
	fail(order, STEP_RAISE);
}

/* Runs in the child, as its only path. */
_Noreturn void after_fork_abort(const struct snapshot_order *order)
{
	if (fchdir(order->directory_fd))
		fail(order, STEP_ENTER_DIRECTORY);
	close_all_but(order->status_fd);
	if (regions_wipe(&order->excluded))
		fail(order, STEP_WIPE);
	if (raise_to_hard_limit(RLIMIT_CORE))
		fail(order, STEP_CORE_LIMIT);
	regions_touch();
	die(order);
}
