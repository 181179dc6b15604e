// SPDX-License-Identifier: Apache-2.0
/*
 * Undoes what our signal has done to a system call. Runs in our signal handler, with the
 * application's signals blocked; the registers of the interrupted code are in its context.
 */
#define _GNU_SOURCE
#include "resume.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch.h"
#include "memory_access.h"
#include "retries.h"
#include "transfers.h"

enum {
	SMALLEST_PAGE = 4096,
	LOOK_BACK = 24, /* bytes of code before the call that may be looked at */
};

/* Whether the code before an address can be loaded: it may begin on the page before. */
static bool code_is_there(uintptr_t pc)
{
	return (pc & (SMALLEST_PAGE - 1)) >= LOOK_BACK || memory_is_readable(pc - LOOK_BACK);
}

static void note_arguments(const ucontext_t *context, const struct thread *thread, bool same,
			   unsigned long *ret)
{
	for (int i = 0; i < CALL_ARGUMENTS; i++)
		ret[i] = arch_argument(context, i);
	if (same) /* where the result overwrites the first one */
		ret[0] = thread->call.args[0];
}

/* Whether a call that the kernel has set back, or that is about to begin, can end with EINTR. */
static bool may_return_eintr(const struct blocking_call *call, const unsigned long *args)
{
	int operation = (int)args[1];

	if (!call || call->restart != RESTARTED)
		return false;
	if (call->number == SYS_fcntl)
		return operation == F_SETLKW || operation == F_OFD_SETLKW;
	if (call->number == SYS_futex)
		return (operation & FUTEX_CMD_MASK) == FUTEX_WAIT ||
		       (operation & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
	return true;
}

/*
 * A call that CPython makes is left with its EINTR where it could not be resumed exactly, and in
 * the main thread: the EINTR makes it run the handlers of signals that another thread has taken
 * meanwhile.
 */
static bool is_left_to_caller(const struct thread *thread, const struct interrupted_call *found,
			      const ucontext_t *context)
{
	return call_is_retried_by_cpython(found->call, found->args) &&
	       (thread_is_main(thread->tid) || call_loses_time(found->call, found->args)) &&
	       retries_at(arch_sp(context), arch_pc(context));
}

static void examine_restarted(const struct thread *thread, ucontext_t *context,
			      struct interrupted_call *ret)
{
	ret->call = blocking_call_find(arch_next_number(context));
	if (!may_return_eintr(ret->call, ret->args))
		return;
	ret->how = KERNEL_RESTARTS;
	if (is_left_to_caller(thread, ret, context)) {
		arch_return_eintr(context);
		ret->how = LEFT_TO_CALLER;
	}
}

/*
 * Whether the EINTR may be the application's although it looks like ours: its handler has blocked
 * our signal while it ran. A thread that has gone to sleep since was woken by us.
 */
static bool may_be_the_applications(const struct thread *thread)
{
	struct rusage usage;

	return thread->delayed && !getrusage(RUSAGE_THREAD, &usage) &&
	       (uint64_t)usage.ru_nvcsw <= thread->sleeps;
}

static void examine_ended(const struct thread *thread, ucontext_t *context, bool same,
			  struct interrupted_call *ret)
{
	uintptr_t instruction = arch_pc(context) - ARCH_SYSCALL_SIZE;
	long number = same ? thread->call.number : arch_decode_number(instruction, arch_sp(context));

	ret->call = blocking_call_find(number);
	ret->result = arch_result(context);
	if (!ret->call)
		return;
	if (ret->result > 0 && call_moves_in_part(ret->call, ret->args)) {
		ret->how = CUT_SHORT;
	} else if (ret->result == -EINTR && !call_is_restarted(ret->call, ret->args)) {
		ret->how = LEFT_TO_CALLER;
		if (is_left_to_caller(thread, ret, context) ||
		    (!same && may_be_the_applications(thread)))
			return;
		arch_set_back(context, number, &thread->call);
		ret->how = WAS_SET_BACK;
	}
}

/*
 * Where another signal is pending too, its handler was entered first, since it has a lower number,
 * and it is that handler which our context shows. The EINTR of a call that the kernel restarts
 * belongs to a signal of the application, whose handler has just returned.
 */
void resume_examine(const struct thread *thread, ucontext_t *context, struct interrupted_call *ret)
{
	uintptr_t pc = arch_pc(context);
	bool same = thread->blocked && arch_sp(context) == thread->call.sp &&
		    arch_same_arguments(context, &thread->call);

	*ret = (struct interrupted_call){.how = NOT_IN_CALL};
	if (!code_is_there(pc))
		return;
	if (arch_is_syscall(pc)) {
		note_arguments(context, thread, false, ret->args);
		examine_restarted(thread, context, ret);
	} else if (arch_is_syscall(pc - ARCH_SYSCALL_SIZE)) {
		same = same && pc == thread->call.pc;
		note_arguments(context, thread, same, ret->args);
		examine_ended(thread, context, same, ret);
	}
}

/* -------------------------------------------------------------------------- before it goes on */

uint64_t resume_mask(const ucontext_t *context)
{
	uint64_t blocked;

	memcpy(&blocked, &context->uc_sigmask, sizeof(blocked));
	return blocked;
}

uint64_t resume_pending(const ucontext_t *context)
{
	uint64_t pending = 0;

	if (syscall(SYS_rt_sigpending, &pending, sizeof(pending)))
		return 0;
	return pending & ~resume_mask(context);
}

/* Whether the handler of one of these signals ends a call that the kernel would restart. */
static bool one_interrupts(uint64_t signals)
{
	struct sigaction action;

	for (int number = 1; signals; number++, signals >>= 1)
		if (signals & 1 && !sigaction(number, NULL, &action) &&
		    action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN &&
		    !(action.sa_flags & SA_RESTART))
			return true;
	return false;
}

uint64_t resume_unblock(const ucontext_t *context)
{
	uint64_t mask = resume_mask(context);
	uint64_t held;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &held, sizeof(mask));
	return held;
}

/* ppoll(2) with the mask of the interrupted code ends with EINTR if, and only if, one has run. */
void resume_run_handlers(struct interrupted_call *interrupted, const ucontext_t *context)
{
	const struct timespec at_once = {0};
	uint64_t mask = resume_mask(context);
	uint64_t pending;

	while ((pending = resume_pending(context))) {
		if (syscall(SYS_ppoll, NULL, 0, &at_once, &mask, sizeof(mask)) >= 0 ||
		    errno != EINTR)
			return;
		pending &= ~resume_pending(context);
		interrupted->handled |= interrupted->how != KERNEL_RESTARTS ||
					one_interrupts(pending);
	}
}

void resume_finish(struct interrupted_call *interrupted, ucontext_t *context, uint64_t stopped_ns)
{
	if (interrupted->how == WAS_SET_BACK)
		call_shorten_timeout(interrupted->call, interrupted->args, stopped_ns);
	resume_run_handlers(interrupted, context);
	if (!interrupted->handled)
		return;
	if (interrupted->how == KERNEL_RESTARTS || interrupted->how == WAS_SET_BACK)
		arch_return_eintr(context);
	interrupted->how = NOT_IN_CALL; /* a transfer in part is due to them now */
}

/* The application's signals are let through meanwhile: they end the transfer, as ever. */
void resume_transfer(const struct interrupted_call *interrupted, ucontext_t *context,
		     const _Atomic uint32_t *ours)
{
	if (interrupted->how != CUT_SHORT)
		return;
	resume_unblock(context);
	arch_set_result(context, transfer_complete(interrupted->call, interrupted->args,
						   interrupted->result, ours));
}
