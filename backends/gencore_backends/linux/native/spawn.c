// SPDX-License-Identifier: Apache-2.0
/*
 * execve(2) resets the exit signal of a process to SIGCHLD, so a child that has executed a program
 * is seen by the application's waitpid(-1). A grandchild is not: its parent ends at once, and it is
 * handed to init, or to a subreaper (prctl(2)). If that is the application itself, it sees it.
 *
 * Both processes are made like vfork(2) makes one: they run in this memory, on stacks of their own,
 * while the calling thread waits. So they make system calls only, and what fails is left in memory.
 * A snapshot, whose children nobody sees, does without the first.
 */
#define _GNU_SOURCE
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "descriptors.h"
#include "kernel_abi.h"
#include "scheduling.h"

enum {
	STACK = 32 * 1024, /* of each of the two */
	SIGNALS = 64,
};

struct spawn {
	const struct spawn_order *order;
	char *stacks; /* two, one above the other */
	long cpus;
	int pidfd;
	int err;
};

/* Those that are handled are reset by execve(2), those that are ignored are not. */
static void clone_reset_signals(void)
{
	const struct kernel_sigaction normal = {0};
	const kernel_sigset none = 0;

	for (int number = 1; number <= SIGNALS; number++)
		syscall(SYS_rt_sigaction, number, &normal, NULL, sizeof(kernel_sigset));
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
}

/* Those of the order, and nothing on the others. Returns 0, or -1 with errno set. */
static int clone_set_descriptors(int input, int messages)
{
	int kept[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
	int nothing;

	if (input == STDIN_FILENO ? fcntl(input, F_SETFD, 0) : dup2(input, STDIN_FILENO) < 0)
		return -1;
	nothing = open("/dev/null", O_WRONLY);
	if (nothing < 0 || dup2(nothing, STDOUT_FILENO) < 0)
		return -1;
	if (messages != STDERR_FILENO && dup2(messages < 0 ? nothing : messages, STDERR_FILENO) < 0)
		return -1;
	return clone_close_all_but(kept, sizeof(kept) / sizeof(*kept));
}

/* If a seccomp filter kills it, a core would be that of the application, whose memory it has. */
static void clone_leave_no_core(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_CORE, &limit))
		return;
	limit.rlim_cur = 0;
	setrlimit(RLIMIT_CORE, &limit);
}

static int clone_execute(void *argument)
{
	struct spawn *spawn = argument;
	const struct spawn_order *order = spawn->order;

	clone_leave_no_core();
	clone_reset_scheduling(spawn->cpus);
	setsid();
	clone_reset_signals();
	if (!clone_set_descriptors(order->input, order->messages))
		execve(order->arguments[0], order->arguments, order->environment);
	spawn->err = errno;
	_exit(1);
}

/* One that has executed nothing is reaped, or a subreaper would get it, and nobody there knows it. */
static void clone_start(struct spawn *spawn, char *stack)
{
	const int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
	int pid = clone(clone_execute, stack + STACK, flags, spawn, &spawn->pidfd);

	if (pid < 0)
		spawn->err = errno;
	else if (spawn->err)
		syscall(SYS_wait4, pid, NULL, 0, NULL);
}

/* Returns the pidfd, or -1 with errno set. */
static int clone_result_of(const struct spawn *spawn)
{
	if (spawn->err && spawn->pidfd >= 0)
		syscall(SYS_close, spawn->pidfd);
	errno = spawn->err;
	return spawn->err ? -1 : spawn->pidfd;
}

/* It has this process's descriptors, so that the pidfd appears among them. */
static int clone_make_grandchild(void *argument)
{
	struct spawn *spawn = argument;

	clone_start(spawn, spawn->stacks + STACK);
	_exit(0);
}

static void spawn_grandchild(struct spawn *spawn)
{
	const int flags = CLONE_VM | CLONE_VFORK | CLONE_FILES; /* and no exit signal */
	int pid = clone(clone_make_grandchild, spawn->stacks + STACK, flags, spawn);

	if (pid < 0)
		spawn->err = errno;
	else
		while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
			;
}

int spawn_detached(const struct spawn_order *order)
{
	struct spawn spawn = {.order = order, .pidfd = -1, .cpus = online_processors()};
	const kernel_sigset all = ~(kernel_sigset)0;
	kernel_sigset before;

	spawn.stacks = mmap(NULL, 2 * STACK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (spawn.stacks == MAP_FAILED)
		return -1;
	/* No handler of the application may run in this memory as another process. */
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(all));
	spawn_grandchild(&spawn);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
	munmap(spawn.stacks, 2 * STACK);
	return clone_result_of(&spawn);
}

int clone_spawn(const struct spawn_order *order, long cpus)
{
	struct spawn spawn = {.order = order, .pidfd = -1, .cpus = cpus};
	const int protection = PROT_READ | PROT_WRITE;
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK;
	long stack = syscall(SYS_mmap, NULL, STACK, protection, flags, -1, 0);

	if (stack == -1)
		return -1;
	clone_start(&spawn, (char *)stack);
	syscall(SYS_munmap, stack, STACK);
	return clone_result_of(&spawn);
}
