// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "stoppable.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "arch.h"
#include "borrowed_signal.h"
#include "calls.h"
#include "memory_access.h"
#include "retries.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

enum {
	HANDLER_STACK = 4 * 1024, /* of our handler and what it calls, generously */
	ALTERNATE_SEARCH = 32 * 1024,
	FRAME_PIECE = 4096, /* of it, looked at in one go; at most a page */
};

/* The alternate stack that a signal frame tells of, if *sp* is on it; or 0. */
static uintptr_t stack_of_frame(uintptr_t frame, uintptr_t sp)
{
	stack_t stack;

	if (memory_read(frame + sizeof(uintptr_t) + offsetof(ucontext_t, uc_stack), &stack,
			sizeof(stack)))
		return 0;
	return sp - (uintptr_t)stack.ss_sp < stack.ss_size ? (uintptr_t)stack.ss_sp : 0;
}

/*
 * The lowest address of the alternate signal stack that a thread runs on, or 0. The signal frame
 * at its top tells; it begins where a handler returns to.
 */
static uintptr_t alternate_stack(uintptr_t sp)
{
	uintptr_t words[FRAME_PIECE / sizeof(uintptr_t)];
	uintptr_t restorer = arch_restorer(borrowed_signal.number);
	uintptr_t end = sp + ALTERNATE_SEARCH;

	for (uintptr_t at = sp & ~(FRAME_PIECE - 1ul); restorer && at < end; at += FRAME_PIECE) {
		if (memory_read(at, words, FRAME_PIECE))
			return 0;
		for (size_t i = 0; i < FRAME_PIECE / sizeof(*words); i++) {
			uintptr_t frame = at + i * sizeof(*words);
			uintptr_t found = words[i] == restorer && frame >= sp
						  ? stack_of_frame(frame, sp)
						  : 0;

			if (found)
				return found;
		}
	}
	return 0;
}

/* A handler blocks its own signal while it runs; CPython sets SA_ONSTACK for each of its own. */
static bool may_be_on_alternate_stack(const struct thread_status *status)
{
	return borrowed_signal.nested || status->blocked & borrowed_signal.on_stacks;
}

/* The kernel kills a process whose signal frame does not fit. */
static bool has_room(uintptr_t sp, const struct thread_status *status)
{
	unsigned long frame = getauxval(AT_MINSIGSTKSZ);
	uintptr_t lowest = sp - HANDLER_STACK - (frame ? frame : 4096);
	uintptr_t alternate = may_be_on_alternate_stack(status) ? alternate_stack(sp) : 0;

	if (alternate && lowest < alternate)
		return false;
	for (uintptr_t page = sp; page > lowest; page -= 4096)
		if (!memory_is_readable(page))
			return false;
	return memory_is_readable(lowest);
}

/* The set that a thread waits for in sigtimedwait(2), which its mask leaves out meanwhile. */
static uint64_t awaited_set(const struct thread *thread)
{
	uint64_t set = 0;

	if (thread->blocked && thread->call.number == SYS_rt_sigtimedwait)
		memory_read(thread->call.args[0], &set, sizeof(set));
	return set;
}

bool thread_uses_our_signal(const struct thread *thread, const struct thread_status *status)
{
	uint64_t pending = status->pending | status->shared_pending;

	return !borrowed_signal.kept && ((pending & signal_bit(borrowed_signal.number)) ||
				  borrowed_signal_is_in(status->blocked) || borrowed_signal_is_in(awaited_set(thread)));
}

/* Whether a thread that blocks in a call may be interrupted there. */
static enum thread_reason why_not_interrupt(const struct thread *thread, enum thread_mode mode)
{
	const struct thread_call *at = &thread->call;
	const struct blocking_call *call = blocking_call_find(at->number);

	if (at->number == SYS_rt_sigtimedwait) /* it waits for signals, perhaps for all */
		return REASON_BLOCKS_SIGNALS;
	/* was interrupted before: its number is lost, but it is none that a socket's timeout limits */
	if (at->number == SYS_restart_syscall)
		return retries_at(at->sp, at->pc) ? REASON_NONE : REASON_REMAINING_TIME;
	if (!call)
		return REASON_NONE;
	if (call_moves_in_part(call, at->args))
		return REASON_TRANSFER;
	if (mode != THREADS_AUTO ||
	    (call_is_restarted(call, at->args) && !call_loses_time(call, at->args)))
		return REASON_NONE;
	if (call_is_retried_by_cpython(call, at->args) && retries_at(at->sp, at->pc))
		return REASON_NONE;
	if (call_loses_time(call, at->args))
		return REASON_REMAINING_TIME;
	return borrowed_signal.delayed ? REASON_HANDLER_BLOCKS : REASON_NONE;
}

enum thread_reason why_not_stop(const struct thread *thread, enum thread_mode mode,
				const struct thread_status *status)
{
	enum thread_reason reason;

	if (status->blocked & signal_bit(borrowed_signal.number))
		return REASON_BLOCKS_SIGNALS;
	if (status->state == 'D' || status->state == 'Z' || status->state == 'X')
		return REASON_UNINTERRUPTIBLE;
	if (!thread->blocked)
		return REASON_NONE;
	reason = why_not_interrupt(thread, mode);
	if (reason != REASON_NONE)
		return reason;
	return has_room(thread->call.sp, status) ? REASON_NONE : REASON_STACK_FULL;
}
