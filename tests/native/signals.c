// SPDX-License-Identifier: Apache-2.0
/*
 * The application's own signals, sent from outside or in a pause, while captures are made.
 *
 *   signals ROUNDS
 *
 * The main thread waits in a call; a child sends one signal, to the thread or to the process; each
 * round has another call, handler and target. Prints one line of JSON for each: how many signals
 * were sent, whose EINTR was lost (the handler has run, and the call goes on), and how many calls
 * ended that should have been restarted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch.h"
#include "capture.h"
#include "threads.h"

enum { OTHERS = 8, CALLS = 4, KINDS = CALLS * 2 * 2 * 2, PATIENCE_MS = 1000 };

/* What both processes look at. A round goes from *begun* to *ended*. */
static struct shared {
	_Atomic int begun, entered, ended;
	_Atomic int handled;	/* the round of the last signal */
	_Atomic bool outside;	/* it came before the call, and would be lost to every program */
	_Atomic int word;	/* a futex */
	_Atomic int sent[KINDS], lost[KINDS], ended_early[KINDS];
	_Atomic int elsewhere;	/* signals of the process that another thread has taken */
	_Atomic int wanted;	/* the round whose signal shall be sent in the pause */
	_Atomic bool done;
} *shared;

static pid_t process;

static int channel[2];

/* ----------------------------------------------------------------------------------- the kinds */

static const char *const names[CALLS] = {"poll", "pause", "read", "futex"};

static int call_of(int kind)
{
	return kind % CALLS;
}

static bool blocks_all(int kind)
{
	return kind / CALLS & 1;
}

static bool restarts(int kind)
{
	return kind / CALLS & 2;
}

static bool to_process(int kind)
{
	return kind / CALLS & 4;
}

/* poll(2) and pause(2) end in any case; see signal(7). */
static bool shall_end(int kind)
{
	return !restarts(kind) || call_of(kind) < 2;
}

/* ------------------------------------------------------------------------------ the main thread */

static long make_call(int kind)
{
	struct pollfd readable = {.fd = channel[0], .events = POLLIN};
	char byte;

	switch (call_of(kind)) {
	case 0:
		return poll(&readable, 1, -1);
	case 1:
		return pause();
	case 2:
		return read(channel[0], &byte, 1);
	default:
		return syscall(SYS_futex, &shared->word, FUTEX_WAIT, 0, NULL, NULL, 0) + 0;
	}
}

/* In the call, or on its instruction, about to be restarted. */
static bool is_in_call(const ucontext_t *context)
{
	return arch_is_syscall(arch_pc(context)) ||
	       (arch_is_syscall(arch_pc(context) - ARCH_SYSCALL_SIZE) &&
		arch_result(context) == -EINTR);
}

static void handle(int number, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)number;
	(void)info;
	atomic_fetch_add(&shared->elsewhere, syscall(SYS_gettid) != getpid());
	atomic_store(&shared->outside, !is_in_call(context));
	atomic_store(&shared->handled, atomic_load(&shared->entered));
	errno = saved;
}

static void ignore(int number)
{
	(void)number;
}

static void set_handler(int kind)
{
	struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};

	action.sa_flags |= restarts(kind) ? SA_RESTART : 0;
	if (blocks_all(kind))
		sigfillset(&action.sa_mask);
	sigaction(SIGUSR1, &action, NULL);
}

static void empty_channel(void)
{
	struct pollfd readable = {.fd = channel[0], .events = POLLIN};
	char byte;

	while (poll(&readable, 1, 0) > 0)
		if (read(channel[0], &byte, 1) < 0)
			return;
}

static bool wait_for(const _Atomic int *word, int value, int milliseconds)
{
	for (int i = 0; i < milliseconds * 20; i++) {
		if (atomic_load(word) == value)
			return true;
		usleep(50);
	}
	return false;
}

static void wait_in_calls(int rounds)
{
	for (int round = 1; round <= rounds; round++) {
		while (!wait_for(&shared->begun, round, PATIENCE_MS))
			;
		set_handler(round % KINDS);
		atomic_store(&shared->word, 0);
		empty_channel();
		atomic_store(&shared->entered, round);
		make_call(round % KINDS);
		atomic_store(&shared->ended, round);
	}
}

/* -------------------------------------------------------------------------------- the child */

/* Whatever it waits for. */
static void end_call(int round)
{
	while (atomic_load(&shared->ended) != round) {
		atomic_store(&shared->word, 1);
		syscall(SYS_futex, &shared->word, FUTEX_WAKE, 1, NULL, NULL, 0);
		if (call_of(round % KINDS) == 1)
			syscall(SYS_tgkill, process, process, SIGUSR2);
		else if (write(channel[1], "x", 1) < 0)
			_exit(1);
		wait_for(&shared->ended, round, 20);
	}
}

static void send_signal(int kind)
{
	if (to_process(kind))
		kill(process, SIGUSR1);
	else
		syscall(SYS_tgkill, process, process, SIGUSR1);
}

/* Every second signal of a kind comes in a pause, the others at any time. */
static bool comes_in_pause(int round)
{
	return round / KINDS & 1;
}

/* While all others stand still. */
static void send_what_is_wanted(const struct thread_table *table)
{
	int round = atomic_exchange(&shared->wanted, 0);

	(void)table;
	if (round)
		send_signal(round % KINDS);
}

static void harass(int round)
{
	int kind = round % KINDS;
	bool handled, ended;

	usleep((useconds_t)(200 + rand() % 1500));
	if (comes_in_pause(round))
		atomic_store(&shared->wanted, round);
	else
		send_signal(kind);
	handled = wait_for(&shared->handled, round, PATIENCE_MS);
	ended = shall_end(kind) ? wait_for(&shared->ended, round, PATIENCE_MS)
				: wait_for(&shared->ended, round, 1);
	if (handled && !atomic_load(&shared->outside)) {
		atomic_fetch_add(&shared->sent[kind], 1);
		atomic_fetch_add(&shared->lost[kind], shall_end(kind) && !ended);
		atomic_fetch_add(&shared->ended_early[kind], !shall_end(kind) && ended);
	}
	end_call(round);
}

static void run_child(int rounds)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int round = 1; round <= rounds; round++) {
		atomic_store(&shared->begun, round);
		while (!wait_for(&shared->entered, round, PATIENCE_MS))
			;
		harass(round);
	}
	_exit(0);
}

/* ---------------------------------------------------------------------------------- the others */

static void *idle(void *argument)
{
	for (;;)
		poll(NULL, 0, -1);
	return argument;
}

static _Atomic int captures;

static void *capture_often(void *argument)
{
	struct thread_table table;

	while (!atomic_load(&shared->done)) {
		if (capture_threads(THREADS_AUTO, &table, send_what_is_wanted))
			abort();
		atomic_fetch_add(&captures, 1);
		usleep((useconds_t)(rand() % 3000)); /* on a busy machine the others need their turn */
	}
	return argument;
}

static void print_kind(int kind)
{
	printf("{\"call\": \"%s\", \"mask\": \"%s\", \"restart\": %s, \"to\": \"%s\", \"sent\": %d, "
	       "\"lost\": %d, \"ended_early\": %d}\n",
	       names[call_of(kind)], blocks_all(kind) ? "full" : "empty",
	       restarts(kind) ? "true" : "false", to_process(kind) ? "process" : "thread",
	       shared->sent[kind], shared->lost[kind], shared->ended_early[kind]);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : KINDS;
	struct sigaction action = {.sa_handler = ignore};
	pthread_t thread;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED || pipe(channel))
		return 1;
	process = getpid();
	sigaction(SIGUSR2, &action, NULL);
	set_handler(0);
	if (fork() == 0)
		run_child(rounds);
	for (int i = 0; i < OTHERS; i++)
		pthread_create(&thread, NULL, idle, NULL);
	if (!getenv("WITHOUT_CAPTURES"))
		pthread_create(&thread, NULL, capture_often, NULL);
	wait_in_calls(rounds);
	atomic_store(&shared->done, true);
	for (int kind = 0; kind < KINDS; kind++)
		print_kind(kind);
	printf("{\"captures\": %d, \"elsewhere\": %d}\n", captures, shared->elsewhere);
	fflush(stdout);
	_exit(0);
}
