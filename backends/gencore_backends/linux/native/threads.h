/* SPDX-License-Identifier: Apache-2.0 */
/* Every thread of this process, stopped or read for the length of the clone. */
#ifndef GENCORE_THREADS_H
#define GENCORE_THREADS_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <ucontext.h>

/* Whose registers are taken. The names are those of DumpRequest.threads. */
enum thread_mode {
	THREADS_CALLER, /* nobody is stopped */
	THREADS_AUTO,	/* nobody notices: calls that cannot be resumed exactly are only read */
	THREADS_SIGNAL, /* those are stopped too, and may time out later than they would have */
	THREADS_MODES,
};

/* What is known of a thread's registers. */
enum thread_state {
	THREAD_NEW,
	THREAD_ASKED,	/* a signal is on its way */
	THREAD_STOPPED, /* it waits in our handler; its context is complete */
	THREAD_READ,	/* blocked in the kernel; stack and program counter were read */
	THREAD_MISSING,
	THREAD_ENDED,
};

/* Why a thread is not stopped. module.c has a sentence for each. */
enum thread_reason {
	REASON_NONE,
	REASON_NOT_ASKED,
	REASON_BLOCKS_SIGNALS,
	REASON_REMAINING_TIME,
	REASON_UNINTERRUPTIBLE,
	REASON_STACK_FULL,
	REASON_QUEUE_FULL,
	REASON_NO_ANSWER,
	REASON_RAN,
	REASON_COUNT,
};

/* /proc/PID/task/TID/syscall, see proc(5). number is -1 outside a system call. */
struct thread_call {
	long number;
	unsigned long args[6];
	uintptr_t sp;
	uintptr_t pc;
};

struct thread {
	pid_t tid;
	_Atomic uint32_t state; /* generation << 8 | enum thread_state */
	enum thread_reason reason;
	bool blocked; /* call is known */
	struct thread_call call;
	uint64_t switches;	   /* context switches when it was read */
	const ucontext_t *context; /* on the stopped thread's own stack */
	uintptr_t tls;
};

/* The threads of one capture, the calling one first. Valid until the next threads_stop(). */
struct thread_table {
	struct thread *threads;
	uint32_t count;
	const void *caller_fp; /* the caller's floating-point state, as a signal frame has it */
};

static inline enum thread_state thread_state(const struct thread *thread)
{
	return (enum thread_state)(atomic_load(&thread->state) & 0xff);
}

/* The word for what is known, as ThreadRecord.registers has it. */
static inline const char *thread_quality(const struct thread *thread)
{
	switch (thread_state(thread)) {
	case THREAD_STOPPED:
		return "exact";
	case THREAD_READ:
		return "partial";
	default:
		return "missing";
	}
}

/*
 * Get everything ready that can fail: memory, a real-time signal that nobody handles.
 * Returns 0, or -1 with errno set.
 */
int threads_prepare(enum thread_mode mode);

/*
 * Stop or read every other thread; wait at most *timeout_ms*. From the first one that stops to
 * threads_release() the caller makes system calls only: a stopped thread may hold any lock.
 * The caller has blocked all signals but threads_signal().
 */
void threads_stop(enum thread_mode mode, unsigned int timeout_ms, struct thread_table *ret);

/* Let them go on. */
void threads_release(void);

/* Mark those that were only read and have run since. Then put the signal's disposition back. */
void threads_finish(struct thread_table *table);

/* The signal that threads_prepare() chose. */
int threads_signal(void);

#endif
