// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "borrowed_signal.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The real-time signals; the C library keeps the first two for itself, see signal(7). */
#define REAL_TIME (~(uint64_t)0 << 33)

enum { FEW_SIGNALS = 8 }; /* a thread that blocks no more real-time signals names them */

struct borrowed_signal borrowed_signal;

static uint64_t avoided; /* signals that the application turned out to use */
static struct sigaction before;

static bool has_handler(const struct sigaction *action)
{
	return action->sa_flags & SA_SIGINFO ||
	       (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

/*
 * Whether handlers must run on alternate stacks here. The frame of a signal kills a process whose
 * alternate stack is registered and too small, so ours asks for one only where threads may be on
 * tiny stacks. Go's runtime is: it preempts its threads by SIGURG, on stacks that it has registered
 * for that.
 */
static bool shows_tiny_stacks(int number, const struct sigaction *action)
{
	return number == SIGURG && has_handler(action) && action->sa_flags & SA_ONSTACK;
}

/* Signals that a thread causes itself, at the instruction that its context shows. */
static bool is_synchronous(int number)
{
	const uint64_t faults = signal_bit(SIGSEGV) | signal_bit(SIGBUS) | signal_bit(SIGFPE) |
				signal_bit(SIGILL) | signal_bit(SIGTRAP) | signal_bit(SIGSYS) |
				signal_bit(SIGABRT);

	return faults & signal_bit(number);
}

/*
 * Whether a handler of the application blocks our signal while it runs. Ours then comes when that
 * handler has returned, and its EINTR looks like one of ours.
 */
static bool may_delay(int ours, int number, const struct sigaction *action)
{
	return !is_synchronous(number) && has_handler(action) &&
	       sigismember(&action->sa_mask, ours) == 1;
}

/* Which handlers run on alternate stacks. SA_RESETHAND resets the handler, but not the flags. */
static void note_alternate_stack(int number, int flags)
{
	if (!(flags & SA_ONSTACK))
		return;
	borrowed_signal.on_stacks |= signal_bit(number);
	borrowed_signal.nested |= flags & SA_NODEFER;
}

/* What this thread blocks by name, and what is queued for it or the process. */
static uint64_t signals_in_use_here(void)
{
	uint64_t blocked = 0;
	uint64_t pending = 0;

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &blocked, sizeof(blocked));
	syscall(SYS_rt_sigpending, &pending, sizeof(pending));
	return pending | (__builtin_popcountll(blocked & REAL_TIME) <= FEW_SIGNALS ? blocked : 0);
}

/* Those that are ignored unless there is a handler, see signal(7). */
static bool is_ignored(int number, const struct sigaction *action)
{
	if (has_handler(action))
		return false;
	return action->sa_handler == SIG_IGN || number == SIGCHLD || number == SIGURG ||
	       number == SIGWINCH || number == SIGCONT;
}

uint64_t signals_to_hold(void)
{
	uint64_t held = ~(uint64_t)0;
	struct sigaction action;

	for (int number = 1; number <= SIGRTMAX; number++)
		if (!sigaction(number, NULL, &action) && is_ignored(number, &action))
			held &= ~signal_bit(number);
	return held;
}

static int find_free_signal(void)
{
	uint64_t in_use = avoided | signals_in_use_here();
	struct sigaction action;

	for (int number = SIGRTMAX - 1; number > SIGRTMIN; number--)
		if (!(in_use & signal_bit(number)) && !sigaction(number, NULL, &action) &&
		    !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_DFL)
			return number;
	avoided = 0;
	errno = EBUSY;
	return -1;
}

/* Note the application's own in one go: each look at one is a system call. */
static void note_actions(int ours, struct sigaction *ret)
{
	uint64_t held = ~(uint64_t)0;
	struct sigaction action;

	borrowed_signal.delayed = borrowed_signal.nested = false;
	borrowed_signal.on_stacks = 0;
	for (int number = 1; number <= SIGRTMAX; number++) {
		if (number == ours || sigaction(number, NULL, &action))
			continue;
		if (is_ignored(number, &action))
			held &= ~signal_bit(number);
		if (shows_tiny_stacks(number, &action))
			ret->sa_flags |= SA_ONSTACK;
		borrowed_signal.delayed |= may_delay(ours, number, &action);
		note_alternate_stack(number, action.sa_flags);
	}
	note_alternate_stack(ours, ret->sa_flags);
	memcpy(&ret->sa_mask, &held, sizeof(held));
}

/* What it holds back may have changed since the last capture, so a kept one is set up again. */
int borrowed_signal_take(void (*handler)(int number, siginfo_t *info, void *context))
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
	int number = borrowed_signal.kept ? borrowed_signal.number : find_free_signal();

	if (number < 0)
		return -1;
	note_actions(number, &action);
	if (sigaction(number, &action, borrowed_signal.kept ? NULL : &before))
		return -1;
	borrowed_signal.number = number;
	return 0;
}

bool borrowed_signal_is_in(uint64_t set)
{
	return set & signal_bit(borrowed_signal.number) &&
	       __builtin_popcountll(set & REAL_TIME) <= FEW_SIGNALS;
}

void borrowed_signal_avoid(void)
{
	avoided |= signal_bit(borrowed_signal.number);
}

void borrowed_signal_give_back(bool queued)
{
	borrowed_signal.kept = queued;
	if (queued)
		return;
	sigaction(borrowed_signal.number, &before, NULL);
	borrowed_signal.number = 0;
}
