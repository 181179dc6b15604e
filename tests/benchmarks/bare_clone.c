// SPDX-License-Identifier: Apache-2.0
/* What the benchmarks compare with: a clone of this process that exits, or dumps core, at once. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Runs in the child. */
static void dump_core(const char *directory)
{
	struct rlimit limit;
	sigset_t none;
	int fd;

	chdir(directory);
	fd = open("/proc/self/coredump_filter", O_WRONLY);
	write(fd, "0xff", 4);
	getrlimit(RLIMIT_CORE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_CORE, &limit);
	signal(SIGSEGV, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	kill(getpid(), SIGSEGV);
}

/* Seconds in clone(), or with a directory until the kernel has written a core into it. */
double bare_clone(const char *directory)
{
	double begin = now(), cloned;
	long pid = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
	int status;

	if (pid == 0) {
		if (directory)
			dump_core(directory);
		syscall(SYS_exit_group, 0);
	}
	cloned = now();
	waitpid((pid_t)pid, &status, __WALL);
	return (directory ? now() : cloned) - begin;
}
