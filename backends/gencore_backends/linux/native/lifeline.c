// SPDX-License-Identifier: Apache-2.0
/*
 * Runs in the child; the contract of after_fork.c holds.
 *
 * The end of a process shows in its pidfd (pidfd_open(2)), and nowhere else reliably: a pipe has no
 * error while a sibling that was forked meanwhile holds its reading end, and the parent's death is
 * not the reader's if the two are not the same process.
 */
#define _GNU_SOURCE
#include "lifeline.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Seconds. A reader that is itself held up (a slow upload, a debugger) gets that much patience. */
enum { PATIENCE = 600 };

static int reader_pidfd = -1;
static pid_t reading_parent;

void clone_watch_reader(int reader, pid_t parent)
{
	reader_pidfd = reader;
	reading_parent = parent;
}

static int clone_poll(struct pollfd *fds, unsigned int count, time_t seconds)
{
	struct timespec limit = {.tv_sec = seconds};

	return (int)syscall(SYS_ppoll, fds, count, &limit, NULL, (size_t)0);
}

int clone_check_reader(void)
{
	struct pollfd reader = {.fd = reader_pidfd, .events = POLLIN};
	bool ended;

	if (reader_pidfd >= 0)
		ended = clone_poll(&reader, 1, 0) == 1;
	else /* no pidfd_open, see snapshot_take() */
		ended = syscall(SYS_getppid) != reading_parent;
	errno = ESRCH;
	return ended ? -1 : 0;
}

int clone_wait_for_room(int fd)
{
	struct pollfd fds[] = {
		{.fd = fd, .events = POLLOUT},
		{.fd = reader_pidfd, .events = POLLIN}, /* poll(2) ignores a negative one */
	};

	for (int waited = 0; waited < PATIENCE; waited++) {
		int ready = clone_poll(fds, 2, 1);

		if (clone_check_reader())
			return -1;
		if (ready > 0)
			return 0;
	}
	errno = ETIMEDOUT;
	return -1;
}
