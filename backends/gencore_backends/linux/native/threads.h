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
#include <unistd.h>

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
	THREAD_ARRIVES, /* in our handler; its context is being noted */
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
	REASON_TRANSFER,
	REASON_HANDLER_BLOCKS,
	REASON_UNINTERRUPTIBLE,
	REASON_STACK_FULL,
	REASON_QUEUE_FULL,
	REASON_NO_ANSWER,
	REASON_RAN,
	REASON_NOT_LOOKED_AT,
	REASON_LEFT_EARLY,
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
	uint64_t sleeps;	   /* how often it had gone to sleep when it was asked to stop */
	bool unanswered;	   /* it was asked and given up: our signal may still be queued */
	bool delayed;		   /* a handler of the application may have delayed our signal */
	const ucontext_t *context; /* on the stopped thread's own stack */
	uintptr_t tls;
};

/* The threads of one capture, the calling one first. Valid until the next threads_stop(). */
struct thread_table {
	struct thread *threads;
	uint32_t count;
	uint32_t unlisted;	/* threads that the kernel counts and the table lacks */
	const void *caller_fp;	/* the caller's floating-point state, as a signal frame has it */
	_Atomic uint8_t *moved; /* shared with the clone: threads that have run since they were read */
	size_t moved_size;
};

static inline enum thread_state thread_state(const struct thread *thread)
{
	return (enum thread_state)(atomic_load(&thread->state) & 0xff);
}

static inline bool thread_is_main(pid_t tid)
{
	return tid == getpid();
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
 * Get everything ready that can fail: memory, descriptors, a real-time signal that nobody uses.
 * Returns 0, or -1 with errno set. threads_finish() undoes it, also after a failure.
 */
int threads_prepare(enum thread_mode mode);

/*
 * Stop or read every other thread; wait at most *timeout_ms*. From the first one that stops to
 * threads_release() the caller makes system calls only: a stopped thread may hold any lock.
 * The caller has blocked signals_to_hold(). Returns 0, or -1 with errno set and nobody stopped.
 */
int threads_stop(enum thread_mode mode, unsigned int timeout_ms, struct thread_table *ret);

/* After the clone: mark those that were only read and have run since. */
void threads_check(struct thread_table *table);

/* Let them go on, the main thread first. */
void threads_release(void);

/*
 * Wait until the main thread has taken the process's signals that came meanwhile: whoever unblocks
 * them first gets them, and only in the main thread do they end the call that it is in. Some
 * milliseconds at most, and not at all if the caller is the main thread. *mask* is the one that the
 * caller is about to restore.
 */
void threads_yield_signals(uint64_t mask);

/* Let the other threads have what is left of them. Called by the main thread, or in its place. */
void threads_main_has_signals(void);

/* Put the signal's disposition back, and release what was prepared. *table* may be empty. */
void threads_finish(struct thread_table *table);

/* In a child of the application's fork(2): nothing of a capture in progress is left. */
void threads_after_fork(void);

/* Runs in the clone: take over what threads_check() has found. */
void clone_threads_checked(const struct thread_table *table);

/* Runs in the clone, after that: whether no other thread has run since all were stopped or read. */
bool clone_threads_stood_still(const struct thread_table *table);

#endif
