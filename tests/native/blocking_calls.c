// SPDX-License-Identifier: Apache-2.0
/*
 * A thread in each system call of the table in calls.c, and hundreds of captures meanwhile.
 *
 *   blocking_calls CAPTURES auto|signal
 *
 * Prints one line of JSON for each thread, and a last one with what of the table no thread has
 * shown. What becomes of a thread follows from the call's row.
 */
#define _GNU_SOURCE
#include "calls_to_make.h"
#include "capture.h"
#include "threads.h"

enum { STANDSTILL_US = 2000 }; /* so long that time which is not taken off adds up */

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* What shall become of a thread in this call: it is stopped, or only read. */
static enum thread_state expected(const struct call *call, enum thread_mode mode)
{
	const struct blocking_call *row = row_of(call);

	if (!row || call->in_part)
		return THREAD_READ;
	if (mode == THREADS_SIGNAL || call->span == FOR_EVER || call->span == UNTIL)
		return THREAD_STOPPED;
	if (call->span == REST && (row->timeout == TIMESPEC_LEFT || row->timeout == TIMEVAL_LEFT))
		return THREAD_STOPPED;
	return THREAD_READ;
}

/* --------------------------------------------------------------------------------- the threads */

/* Our signals that sigtimedwait(2) took for its own: it was about to return, and looked like any. */
static int taken;

/* Whether a return is what the call would have done without us. */
static bool ended_well(const struct call *call, long result, int error)
{
	if (call->end == DONE)
		return result >= 0;
	if (!row_of(call) && result > 0) {
		taken++;
		return true;
	}
	return call->end == IN_TIME &&
	       (result == 0 || error == ETIMEDOUT || error == EAGAIN || error == ETIME);
}

static void *run_call(void *argument)
{
	struct call *call = argument;

	call->shortest = 1e9;
	atomic_store(&call->tid, (pid_t)syscall(SYS_gettid));
	for (;;) {
		double begin = now_ms();
		long result = call->make();
		int error = result < 0 ? errno : 0;
		double wait = now_ms() - begin;

		if (error == EINTR)
			call->interrupted++;
		else if (!ended_well(call, result, error))
			call->failed = error ? error : -1;
		if (call->failed)
			return NULL;
		call->shortest = wait < call->shortest ? wait : call->shortest;
		call->sum += wait;
		atomic_fetch_add(&call->rounds, 1);
		if (call->end == DONE)
			usleep(2000);
	}
}

/* -------------------------------------------------------------------------------- the captures */

static enum thread_mode mode;
static int not_listed;

/* Decided from what the call is, not for want of an answer. */
static bool was_decided(const struct thread *thread)
{
	enum thread_state state = thread_state(thread);

	return state == THREAD_STOPPED ||
	       (state == THREAD_READ &&
		(thread->reason == REASON_REMAINING_TIME || thread->reason == REASON_TRANSFER ||
		 thread->reason == REASON_HANDLER_BLOCKS || thread->reason == REASON_STACK_FULL ||
		 thread->call.number == SYS_rt_sigtimedwait));
}

static void look_at_call(struct call *call, const struct thread *thread)
{
	const struct blocking_call *row = row_of(call);
	long number = row ? row->number : SYS_rt_sigtimedwait;

	if (!thread->blocked || thread->call.number != number || !was_decided(thread))
		return;
	call->seen++;
	call->wrong += thread_state(thread) != expected(call, mode);
}

static void look(const struct thread_table *table)
{
	int found = 0;

	for (int i = 0; i < CALLS; i++)
		for (uint32_t j = 1; j < table->count; j++)
			if (calls[i].tid == table->threads[j].tid) {
				look_at_call(&calls[i], &table->threads[j]);
				found++;
			}
	not_listed += CALLS - found;
	usleep(STANDSTILL_US);
}

static void print_call(const struct call *call)
{
	int rounds = atomic_load(&call->rounds);

	printf("{\"call\": \"%s\", \"row\": \"%s\", \"timed\": %s, \"rounds\": %d, \"eintr\": %d, "
	       "\"failed\": %d, \"seen\": %d, \"wrong\": %d, \"shortest\": %.4f, \"mean\": %.4f}\n",
	       call->variant, call->row, call->end == IN_TIME ? "true" : "false", rounds,
	       call->interrupted, call->failed, call->seen, call->wrong,
	       rounds ? call->shortest / TIMEOUT_MS : 0,
	       rounds ? call->sum / rounds / TIMEOUT_MS : 0);
}

/* Whether a thread was found in the row's call in this way. */
static bool was_seen(const struct blocking_call *row, uint32_t spans, bool in_part)
{
	for (int i = 0; i < CALLS; i++)
		if (row_of(&calls[i]) == row && spans & 1u << calls[i].span &&
		    (!in_part || calls[i].in_part) &&
		    (calls[i].end == DONE ? calls[i].rounds : calls[i].seen))
			return true;
	return false;
}

static const char *comma = "";

static void require(const char *name, const char *what, bool seen)
{
	if (seen)
		return;
	printf("%s\"%s: %s\"", comma, name, what);
	comma = ", ";
}

static void print_untested(const struct blocking_call *row)
{
	const uint32_t any = ~0u, relative = 1u << REST | 1u << CONSTANT | 1u << OPTION;
	bool left = row->timeout == TIMESPEC_LEFT || row->timeout == TIMEVAL_LEFT;
	bool both = row->timeout == UNLESS_ABSOLUTE || row->timeout == FUTEX_TIMEOUT;

	require(row->name, "waits", was_seen(row, any, false));
	require(row->name, "has a timeout", row->timeout == NO_TIMEOUT || was_seen(row, relative, false));
	require(row->name, "writes what is left", !left || was_seen(row, 1u << REST, false));
	require(row->name, "cannot write what is left", !left || was_seen(row, 1u << CONSTANT, false));
	require(row->name, "waits until", !both || was_seen(row, 1u << UNTIL, false));
	require(row->name, "moves a part", row->transfer == NO_TRANSFER || was_seen(row, any, true));
}

/* Whether each call with a timeout has returned once: on a busy machine that takes longer. */
static bool all_have_timed_out(void)
{
	for (int i = 0; i < CALLS; i++)
		if (calls[i].end == IN_TIME && !calls[i].failed && !atomic_load(&calls[i].rounds))
			return false;
	return true;
}

int main(int argc, char **argv)
{
	int captures = argc > 1 ? atoi(argv[1]) : 100;
	struct thread_table table;
	pthread_t thread;
	int failures = 0;

	mode = argc > 2 && !strcmp(argv[2], "signal") ? THREADS_SIGNAL : THREADS_AUTO;
	for (int i = 0; i < CALLS; i++) {
		pthread_create(&thread, NULL, run_call, &calls[i]);
		while (!atomic_load(&calls[i].tid))
			usleep(100);
	}
	for (int i = 0; i < captures; i++) {
		failures += capture_threads(mode, &table, look) != 0;
		usleep(1000);
	}
	while (!all_have_timed_out())
		usleep(1000);
	for (int i = 0; i < CALLS; i++)
		print_call(&calls[i]);
	printf("{\"captures\": %d, \"failures\": %d, \"not_listed\": %d, \"taken\": %d, "
	       "\"untested\": [",
	       captures, failures, not_listed, taken);
	for (size_t i = 0; i < blocking_call_count; i++)
		print_untested(&blocking_calls[i]);
	for (int i = 0; i < CALLS; i++)
		require(calls[i].row, "has a row",
			row_of(&calls[i]) || !strcmp(calls[i].row, "rt_sigtimedwait"));
	printf("]}\n");
	fflush(stdout);
	remove_what_stays();
	_exit(0);
}
