// SPDX-License-Identifier: Apache-2.0
/*
 * Runs the code that macOS's child runs after the fork, on whatever POSIX system this is, with
 * signals as an application may have set them. Prints how the child ended, and what it sent.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "regions.h"
#include "snapshot.h"

static const char *mode;
static int bystander; /* a descriptor of the application, which the child must not keep */

/* In place of regions.c, which needs Mach. */
int regions_wipe(const struct ranges *excluded)
{
	if (strcmp(mode, "wipe") == 0) {
		errno = ENOMEM;
		return -1;
	}
	memset((void *)excluded->rows[0].start, 0, excluded->rows[0].end - excluded->rows[0].start);
	return 0;
}

/* The last that runs before the signal: a check of what the child has done so far. */
void regions_touch(void)
{
	struct rlimit limit;
	char name[4096];

	getrlimit(RLIMIT_CORE, &limit);
	if (limit.rlim_cur != limit.rlim_max || !getcwd(name, sizeof(name)) || strcmp(name, "/") ||
	    write(bystander, "", 1) == 1)
		_exit(99);
}

int main(int argc, char **argv)
{
	struct rlimit limit = {0, 1}; /* too small for a core, and not yet raised */
	char secret[] = "secret";
	struct range row = {(uintptr_t)secret, (uintptr_t)(secret + sizeof(secret))};
	struct step_failure failure = {-1, 0};
	int fds[2], status;
	sigset_t all;
	pid_t pid;

	mode = argc > 1 ? argv[1] : "";
	setrlimit(RLIMIT_CORE, &limit);
	signal(SIGABRT, SIG_IGN);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	bystander = dup(1);
	if (pipe(fds) || chdir("/") || (pid = fork()) < 0)
		return 1;
	if (pid == 0) {
		struct snapshot_order order = {
			.directory_fd = strcmp(mode, "directory") ? dup(0) : -1,
			.status_fd = fds[1],
			.excluded = {&row, 1},
		};

		after_fork_abort(&order);
	}
	close(fds[1]);
	if (read(fds[0], &failure, sizeof(failure)) != sizeof(failure))
		failure.step = -1;
	waitpid(pid, &status, 0);
	printf("%s %d %d %d\n", WIFSIGNALED(status) ? "signal" : "exit",
	       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), failure.step,
	       failure.err);
	return strcmp(secret, "secret") != 0;
}
