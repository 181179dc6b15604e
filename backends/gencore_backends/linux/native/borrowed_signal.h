/* SPDX-License-Identifier: Apache-2.0 */
/* The real-time signal that stops threads: one that nobody else uses, as long as ours is needed. */
#ifndef GENCORE_BORROWED_SIGNAL_H
#define GENCORE_BORROWED_SIGNAL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct borrowed_signal {
	int number;	    /* 0: none is borrowed */
	bool kept;	    /* from the last capture: a thread has not taken it yet */
	bool delayed;	    /* a handler of the application may block it for a while */
	uint64_t on_stacks; /* the application's handlers of these run on alternate stacks */
	bool nested;	    /* one of those does not block its own signal meanwhile */
};

/* There is one. Others only read it. */
extern struct borrowed_signal borrowed_signal;

static inline uint64_t signal_bit(int number)
{
	return (uint64_t)1 << (number - 1);
}

/*
 * The signals that are blocked where a thread stands still: all but those that the process ignores.
 * The kernel throws an ignored signal away when it is sent, but keeps one that is blocked, and wakes
 * another thread for it: that of a child's end cut short the transfers of threads that are read
 * (sig_ignored() and complete_signal() in kernel/signal.c).
 */
uint64_t signals_to_hold(void);

/* Have *handler* called for it, with those blocked. Returns 0, or -1 with errno set. */
int borrowed_signal_take(void (*handler)(int number, siginfo_t *info, void *context));

/* Whether a set names our signal, rather than including every one. */
bool borrowed_signal_is_in(uint64_t set);

/* The application uses it after all: another one is to be taken the next time. */
void borrowed_signal_avoid(void);

/*
 * Put the application's disposition back, unless ours is still *queued* to a thread. The default
 * action of a real-time signal ends the process, and to ignore it for a moment would throw away
 * what the application has queued: so our handler stays then, and the next capture uses the same
 * signal.
 */
void borrowed_signal_give_back(bool queued);

#endif
