// SPDX-License-Identifier: Apache-2.0
/*
 * The code that runs in the forked child on macOS. Contract: system calls only, no line of Python,
 * no lock, no allocation; it never returns. See fork(2), CAVEATS. Every failure is sent through the
 * status pipe as (step, errno).
 */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "snapshot.h"

/* Runs in the child. */
static _Noreturn void fail(int status_fd, enum snapshot_step step)
{
	struct step_failure failure = {.step = step, .err = errno};

	(void)!write(status_fd, &failure, sizeof(failure));
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

/* Runs in the child, as its only path. */
_Noreturn void after_fork_abort(int directory_fd, int status_fd)
{
	sigset_t all_but_abort;

	if (fchdir(directory_fd))
		fail(status_fd, STEP_ENTER_DIRECTORY);
	for (int fd = 0; fd < getdtablesize(); fd++)
		if (fd != status_fd)
			close(fd);
	if (raise_to_hard_limit(RLIMIT_CORE))
		fail(status_fd, STEP_CORE_LIMIT);
	if (signal(SIGABRT, SIG_DFL) == SIG_ERR)
		fail(status_fd, STEP_RESET_SIGNAL);
	sigfillset(&all_but_abort);
	sigdelset(&all_but_abort, SIGABRT);
	if (sigprocmask(SIG_SETMASK, &all_but_abort, NULL))
		fail(status_fd, STEP_UNBLOCK_SIGNAL);
	kill(getpid(), SIGABRT);
	fail(status_fd, STEP_RAISE);
}
