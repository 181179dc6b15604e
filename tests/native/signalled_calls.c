// SPDX-License-Identifier: Apache-2.0
/*
 * The main thread in each call that waits for ever, and what ends it there.
 *
 *   signalled_calls signal    a signal of the application's, which comes in a pause
 *   signalled_calls cpython   a pause, where this program is taken for CPython, which calls again
 *
 * Prints one line of JSON for each call, twice for "signal": its handler has SA_RESTART or not.
 * "ended" is whether the call ended with EINTR, "alone" whether it does so without a capture, and
 * "in_pause" whether the handler ran while the others stood still.
 */
#define _GNU_SOURCE
#include "calls_to_make.h"
#include "capture.h"
#include "proc_text.h"
#include "retries.h"
#include "threads.h"

enum { PATIENCE_MS = 5000 };

static bool by_signal;
static pid_t main_thread;
static int tasks;

/* The main thread makes the call of each *begun* one, and has left it when it is *ended*. */
static _Atomic int begun, ended;
static _Atomic int handled; /* signals */
static bool eintr;	    /* of the last call */

static void handle(int number)
{
	(void)number;
	atomic_fetch_add(&handled, 1);
}

static void set_handler(int number, int flags)
{
	struct sigaction action = {.sa_handler = handle, .sa_flags = flags};

	sigaction(number, &action, NULL);
}

static void send_to_main(int number)
{
	syscall(SYS_tgkill, getpid(), main_thread, number);
}

static bool wait_for(const _Atomic int *word, int value)
{
	for (int i = 0; i < PATIENCE_MS * 10 && atomic_load(word) != value; i++)
		usleep(100);
	return atomic_load(word) == value;
}

/* Whether the main thread sleeps in this call. */
static bool is_in(const struct blocking_call *row, struct thread_call *ret)
{
	struct thread_status status;

	return !read_task_status(tasks, main_thread, &status) && status.state == 'S' &&
	       !read_task_call(tasks, main_thread, ret) && ret->number == row->number;
}

static struct thread_call await_call(const struct blocking_call *row)
{
	struct thread_call found;

	while (!is_in(row, &found))
		usleep(100);
	return found;
}

/* Wait until the call has ended, or is slept in again, at the same place of the stack. */
static bool has_ended(const struct blocking_call *row, const struct thread_call *before, int number)
{
	struct thread_call now;

	for (;;) {
		if (atomic_load(&ended) == number)
			return true;
		if (is_in(row, &now) && now.sp == before->sp && now.pc == before->pc)
			return false;
		usleep(100);
	}
}

static bool in_pause;

/* While all others stand still. */
static void signal_main(const struct thread_table *table)
{
	(void)table;
	if (!by_signal)
		return;
	send_to_main(SIGUSR1);
	in_pause = wait_for(&handled, 1);
}

/* Returns whether the call ended. */
static bool make_once(const struct call *call, bool captured)
{
	const struct blocking_call *row = row_of(call);
	int number = atomic_fetch_add(&begun, 1) + 1;
	struct thread_call before = await_call(row);
	struct thread_table table;

	atomic_store(&handled, 0);
	if (captured && capture_threads(THREADS_AUTO, &table, signal_main))
		_exit(1);
	if (!captured && by_signal)
		send_to_main(SIGUSR1);
	if (by_signal && !wait_for(&handled, 1))
		give_up("no signal");
	if (has_ended(row, &before, number))
		return eintr;
	do
		send_to_main(SIGUSR2);
	while (!wait_for(&ended, number));
	return false;
}

static void try_call(const struct call *call, int flags)
{
	bool alone, with_capture;

	set_handler(SIGUSR1, flags);
	alone = make_once(call, false);
	with_capture = make_once(call, true);
	printf("{\"call\": \"%s\", \"row\": \"%s\", \"restart\": %s, \"alone\": %s, \"ended\": %s, "
	       "\"in_pause\": %s}\n",
	       call->variant, call->row, flags ? "true" : "false", alone ? "true" : "false",
	       with_capture ? "true" : "false", in_pause ? "true" : "false");
}

static bool waits(const struct call *call)
{
	return call->span == FOR_EVER && call->end == NEVER && !call->in_part && row_of(call);
}

static void *try_calls(void *argument)
{
	for (int i = 0; i < CALLS; i++) {
		if (!waits(&calls[i]))
			continue;
		try_call(&calls[i], 0);
		if (by_signal)
			try_call(&calls[i], SA_RESTART);
	}
	fflush(stdout);
	remove_what_stays();
	_exit(0);
	return argument;
}

/* Each call as often as try_call() wants it. */
static void make_calls(void)
{
	int number = 0;

	for (int i = 0; i < CALLS; i++)
		for (int j = 0; waits(&calls[i]) && j < (by_signal ? 4 : 2); j++) {
			while (atomic_load(&begun) == number)
				usleep(100);
			eintr = calls[i].make() < 0 && errno == EINTR;
			atomic_store(&ended, ++number);
		}
	for (;;)
		usleep(1000);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	by_signal = argc > 1 && !strcmp(argv[1], "signal");
	if (!by_signal)
		retries_note_cpython((const void *)(uintptr_t)main);
	main_thread = getpid();
	tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY);
	set_handler(SIGUSR2, 0);
	pthread_create(&thread, NULL, try_calls, NULL);
	make_calls();
}
