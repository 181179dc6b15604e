// SPDX-License-Identifier: Apache-2.0
/*
 * Signals of the application's own, one after the other, while captures are made.
 *
 *   unnoticed_signals TARGET CALL RESTART MASK SIGNALS CAPTURE
 *
 * TARGET is "process" (kill(2), for the main thread) or "thread" (tgkill(2), for another one), CALL
 * what that thread does: "poll", "read", "run", "queue" (real-time signals are queued to it),
 * "sigwaitinfo" (it takes them by that). RESTART is 1 for handlers with SA_RESTART, MASK 1 for
 * those that block all signals, CAPTURE 0 for the same without captures. Another process sends a
 * signal once the thread is in its call, after a moment of random length, and waits until it has
 * had its effect: the handler has run, and the call has ended if it should. Prints one line of JSON.
 *
 * As a shared library it does the same to CPython; see unnoticed_service.py.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "../native/capture.h"
#include "clock.h"
#include "proc_text.h"
#include "retries.h"
#include "threads.h"

enum {
	LATE_MS = 100,	  /* after which a signal counts as unheard */
	PATIENCE_S = 20,  /* until the thread is in its call, even on a busy machine */
	PAUSE_US = 300,	  /* how long threads stand still, as for the clone of a small heap */
	BETWEEN_US = 200, /* two captures */
	BURST = 10,	  /* real-time signals at once */
	BYSTANDERS = 6,
};

struct wanted {
	bool to_thread;
	bool restarts;
	bool full_mask;
	bool ends; /* the call ends with EINTR */
	bool queued;
	int signal;
	int burst;
	long number; /* of the call; -1 for none */
};

/* What both processes write. */
struct shared {
	_Atomic int handled;
	_Atomic int ended;
	_Atomic int elsewhere; /* handled by another thread */
	_Atomic int out_of_order;
	_Atomic int in_pause;
	_Atomic int captures;
	_Atomic pid_t tid;
	_Atomic bool finished;
	int sent;
	int sent_in_pause;
	int late;
	int repeated; /* signals that were sent again because one had had no effect */
};

static struct shared *shared;
static struct wanted wanted;

static void sleep_us(long count)
{
	struct timespec span = {.tv_nsec = count * 1000};

	syscall(SYS_nanosleep, &span, NULL);
}

/* ------------------------------------------------------------------- the process that sends */

static bool has_had_effect(int handled, int ended)
{
	return atomic_load(&shared->handled) >= handled &&
	       (!wanted.ends || atomic_load(&shared->ended) >= ended);
}

static void send_one(pid_t pid, int value)
{
	if (wanted.queued)
		sigqueue(pid, wanted.signal, (union sigval){.sival_int = value});
	else if (wanted.to_thread)
		syscall(SYS_tgkill, pid, atomic_load(&shared->tid), wanted.signal);
	else
		kill(pid, wanted.signal);
}

/* After a wake-up for a signal that another thread took, the call has another number. */
static bool is_in_call(int tasks)
{
	struct thread_call call;
	pid_t tid = atomic_load(&shared->tid);

	if (wanted.number < 0)
		return true;
	return !read_task_call(tasks, tid, &call) &&
	       (call.number == wanted.number || call.number == SYS_restart_syscall);
}

static bool await(bool (*condition)(int), int argument, uint64_t ns)
{
	uint64_t end = now_ns() + ns;

	while (!condition(argument)) {
		if (now_ns() > end)
			return false;
		sleep_us(20);
	}
	return true;
}

static bool await_effect(int handled, int ended)
{
	uint64_t end = now_ns() + LATE_MS * 1000000ull;

	while (!has_had_effect(handled, ended)) {
		if (now_ns() > end)
			return false;
		sleep_us(20);
	}
	return true;
}

static void send_round(pid_t pid, int tasks)
{
	int handled = atomic_load(&shared->handled) + wanted.burst;
	int ended = atomic_load(&shared->ended) + 1;

	if (!await(is_in_call, tasks, PATIENCE_S * 1000000000ull)) {
		kill(pid, SIGABRT); /* or it would wait for ever */
		abort();
	}
	sleep_us(rand() % (PAUSE_US + BETWEEN_US));
	for (int i = 0; i < wanted.burst; i++) {
		shared->sent_in_pause += atomic_load(&shared->in_pause);
		send_one(pid, shared->sent++);
	}
	if (await_effect(handled, ended))
		return;
	shared->late++;
	for (int tries = 0; tries < 50 && !await_effect(handled, ended); tries++) {
		shared->repeated++;
		if (!wanted.queued)
			send_one(pid, 0);
	}
}

static void send_all(pid_t pid, int count)
{
	char path[64];
	int tasks;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	srand((unsigned int)pid);
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = open(path, O_RDONLY | O_DIRECTORY);
	while (!atomic_load(&shared->tid))
		sleep_us(100);
	while (shared->sent < count)
		send_round(pid, tasks);
	atomic_store(&shared->finished, true);
	_exit(0);
}

static void start_sender(int count)
{
	pid_t pid = getpid();

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (fork() == 0)
		send_all(pid, count);
}

/* ---------------------------------------------------------------- the process that is captured */

static void print_result(void)
{
	int asked = wanted.ends ? shared->sent + shared->repeated : 0;
	int unasked = atomic_load(&shared->ended) - asked;

	printf("{\"sent\": %d, \"in_pause\": %d, \"handled\": %d, \"late\": %d, \"unasked\": %d, "
	       "\"out_of_order\": %d, \"elsewhere\": %d, \"captures\": %d}\n",
	       shared->sent, shared->sent_in_pause, atomic_load(&shared->handled), shared->late,
	       unasked > 0 ? unasked : 0, atomic_load(&shared->out_of_order),
	       atomic_load(&shared->elsewhere), atomic_load(&shared->captures));
	fflush(stdout);
}

static void stand_still(const struct thread_table *table)
{
	(void)table;
	atomic_store(&shared->in_pause, 1);
	sleep_us(PAUSE_US);
	atomic_store(&shared->in_pause, 0);
}

/* Ends the process when all signals are sent. */
static void *capture_again_and_again(void *argument)
{
	struct thread_table table;

	while (!atomic_load(&shared->finished)) {
		if (argument && !capture_threads(THREADS_AUTO, &table, stand_still))
			atomic_fetch_add(&shared->captures, 1);
		sleep_us(BETWEEN_US);
	}
	print_result();
	_exit(0);
}

static void on_signal(int number)
{
	(void)number;
	if (syscall(SYS_gettid) != atomic_load(&shared->tid))
		atomic_fetch_add(&shared->elsewhere, 1);
	atomic_fetch_add(&shared->handled, 1);
}

static int empty_pipe(void)
{
	int fds[2];

	return pipe(fds) ? -1 : fds[0];
}

static void note_end(long result)
{
	if (result < 0 && errno == EINTR)
		atomic_fetch_add(&shared->ended, 1);
}

static _Noreturn void take_signals(void)
{
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, wanted.signal);
	for (;;) {
		if (sigwaitinfo(&set, &info) < 0) {
			note_end(-1);
			continue;
		}
		if (info.si_value.sival_int != atomic_fetch_add(&shared->handled, 1))
			atomic_fetch_add(&shared->out_of_order, 1);
	}
}

/* What the thread does that the signals are for. */
static _Noreturn void *be_target(void *call)
{
	int fd = empty_pipe();
	char byte;

	atomic_store(&shared->tid, (pid_t)syscall(SYS_gettid));
	if (!strcmp(call, "sigwaitinfo"))
		take_signals();
	for (;;) {
		if (wanted.number == SYS_poll)
			note_end(poll(NULL, 0, -1));
		else if (wanted.number == SYS_read)
			note_end(read(fd, &byte, 1));
	}
}

static void *wait_for_ever(void *argument)
{
	char byte;

	while (read(empty_pipe(), &byte, 1) < 0)
		continue;
	return argument;
}

static void set_handler(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	if (wanted.restarts)
		action.sa_flags |= SA_RESTART;
	if (wanted.full_mask)
		sigfillset(&action.sa_mask);
	sigaction(wanted.signal, &action, NULL);
}

static void block_wanted(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, wanted.signal);
	pthread_sigmask(how, &set, NULL);
}

static void describe(char **arguments)
{
	const char *call = arguments[2];

	wanted.to_thread = !strcmp(arguments[1], "thread");
	wanted.queued = !strcmp(call, "queue") || !strcmp(call, "sigwaitinfo");
	wanted.restarts = atoi(arguments[3]);
	wanted.full_mask = atoi(arguments[4]);
	wanted.signal = wanted.queued ? SIGRTMIN + 1 : SIGUSR1;
	wanted.burst = wanted.queued ? BURST : 1;
	wanted.number = !strcmp(call, "poll") ? SYS_poll : !strcmp(call, "read") ? SYS_read : -1;
	wanted.ends = wanted.number == SYS_poll || (wanted.number == SYS_read && !wanted.restarts);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc != 7)
		return 2;
	describe(argv);
	start_sender(atoi(argv[5]));
	set_handler();
	if (!strcmp(argv[2], "sigwaitinfo"))
		block_wanted(SIG_BLOCK);
	for (int i = 0; i < BYSTANDERS; i++)
		pthread_create(&thread, NULL, wait_for_ever, NULL);
	pthread_create(&thread, NULL, capture_again_and_again, atoi(argv[6]) ? argv : NULL);
	if (wanted.to_thread)
		pthread_create(&thread, NULL, be_target, argv[2]);
	else
		be_target(argv[2]);
	for (;;)
		wait_for_ever(NULL);
}

/* ------------------------------------------------------------------------- called by CPython */

/* Before other threads begin. Returns where the handler counts. */
_Atomic int *service_begin(int count, long call);
_Atomic int *service_begin(int count, long call)
{
	wanted = (struct wanted){.signal = SIGUSR1, .burst = 1, .number = call};
	start_sender(count);
	atomic_store(&shared->tid, getpid());
	return &shared->handled;
}

/* In a thread of its own; ends the process when all signals are sent. */
void service_capture(const void *function, bool capture);
void service_capture(const void *function, bool capture)
{
	retries_note_cpython(function);
	capture_again_and_again(capture ? &wanted : NULL);
}
