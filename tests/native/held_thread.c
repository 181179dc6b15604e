// SPDX-License-Identifier: Apache-2.0
/*
 * A thread that cannot answer, because a debugger holds it: our signal stays queued to it, so that the
 * handler must stay. held_thread prints whether it stayed, whether a child made by fork(2), which
 * inherits no signal, has put the disposition back, and whether the thread went on unharmed.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPTURE_TIMEOUT_MS 500 /* all of it passes: the held thread never answers */

#include "borrowed_signal.h"
#include "capture.h"
#include "threads.h"

static _Atomic pid_t held;
static _Atomic unsigned int turns;
static int commands[2], answers[2];

static void *take_turns(void *argument)
{
	held = (pid_t)syscall(SYS_gettid);
	for (;;)
		turns++;
	return argument;
}

static void say(int fd)
{
	if (write(fd, "", 1) != 1)
		_exit(2);
}

static void hear(int fd)
{
	char byte;

	if (read(fd, &byte, 1) != 1)
		_exit(2);
}

/* Hold the thread from the first command to the second. */
static void debug(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	hear(commands[0]);
	if (ptrace(PTRACE_SEIZE, held, 0, 0) || ptrace(PTRACE_INTERRUPT, held, 0, 0) ||
	    waitpid(held, NULL, __WALL) != held)
		_exit(3);
	say(answers[1]);
	hear(commands[0]);
	ptrace(PTRACE_DETACH, held, 0, 0);
	say(answers[1]);
	pause();
}

static bool is_default(int number)
{
	struct sigaction action;

	return !sigaction(number, NULL, &action) && !(action.sa_flags & SA_SIGINFO) &&
	       action.sa_handler == SIG_DFL;
}

/* Whether a child puts back what it has inherited. */
static bool child_puts_back(int number)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		threads_after_fork();
		_exit(!is_default(number));
	}
	return waitpid(child, &status, 0) == child && status == 0;
}

int main(void)
{
	struct thread_table table;
	pthread_t thread;
	unsigned int before;
	bool kept, child;
	int number;

	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	pthread_create(&thread, NULL, take_turns, NULL);
	while (!held)
		usleep(1000);
	if (pipe(commands) || pipe(answers))
		return 2;
	if (fork() == 0)
		debug();
	close(answers[1]); /* if it may not debug, it ends */
	say(commands[1]);
	hear(answers[0]);
	if (capture_threads(THREADS_AUTO, &table, NULL))
		return 2;
	number = borrowed_signal.number;
	kept = number && !is_default(number);
	child = number && child_puts_back(number);
	before = turns;
	say(commands[1]);
	hear(answers[0]);
	while (turns == before)
		usleep(100);
	printf("{\"kept\": %s, \"child\": %s, \"goes_on\": true}\n", kept ? "true" : "false",
	       child ? "true" : "false");
	fflush(stdout);
	_exit(0);
}
