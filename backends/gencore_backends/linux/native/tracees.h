/* SPDX-License-Identifier: Apache-2.0 */
/* Every thread of another process, stopped by ptrace(2) or read, and let go. */
#ifndef GENCORE_TRACEES_H
#define GENCORE_TRACEES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "arch.h"
#include "threads.h"

enum tracee_state {
	TRACEE_ASKED,	/* attached; it will stop */
	TRACEE_STOPPED, /* attached; its registers are here */
	TRACEE_READ,	/* not attached; its call is here */
	TRACEE_LATE,	/* attached; it had not stopped in time */
	TRACEE_MISSING, /* not attached */
	TRACEE_ENDED,
};

/* A set of registers as PTRACE_GETREGSET has it and a note of a core: owner's type, bytes. */
struct register_set {
	uint32_t type;
	uint32_t size;
	void *data;
};

enum { MOST_SETS = 3 };

struct tracee {
	pid_t tid;
	enum tracee_state state;
	enum thread_reason reason;
	struct thread_call call;  /* before it was stopped, or as it was read */
	uint64_t switches;	  /* context switches when it was read */
	bool in_call;		  /* stopped in call */
	bool by_signal;		  /* stopped by SIGSTOP or the like before us */
	bool set_back;		  /* its call ends with EINTR, and is run again instead */
	arch_registers registers; /* as they are at the instant */
	arch_registers resumed;	  /* with which it goes on */
	struct register_set sets[MOST_SETS]; /* besides the general ones */
};

struct tracees {
	pid_t pid;
	int tasks; /* /proc/PID/task */
	int pidfd;
	bool all; /* also threads whose call cannot be resumed exactly */
	struct tracee *rows;
	uint32_t count;
	uint32_t capacity;
	uint32_t unlisted; /* threads that the kernel counts and the rows lack */
};

/*
 * All of this is called by one thread, which is the tracer. When that thread ends, however it
 * does, the kernel lets every tracee go.
 */

/* Returns 0, or -1 with errno set. tracees_close() undoes it, also after a failure. */
int tracees_open(pid_t pid, bool all, struct tracees *ret);
void tracees_close(struct tracees *tracees);

/* Stop or read each; wait at most *timeout_ms*. Returns 0, or -1 with errno set. */
int tracees_stop(struct tracees *tracees, unsigned int timeout_ms);

/* Stop one that was read, whatever call it is in. Returns 0, or -1 with errno set. */
int tracees_stop_this(struct tracees *tracees, struct tracee *row, unsigned int timeout_ms);

/* Stop the first that may be stopped. Returns it, or NULL. */
struct tracee *tracees_stop_any(struct tracees *tracees, unsigned int timeout_ms);

/* Wait for the next stop or end of an attached thread. Returns its wait status, or -1: none yet. */
int tracee_wait(pid_t tid, uint64_t until_ns);

/* The thread in which a system call disturbs least, or NULL: none is stopped. */
struct tracee *tracees_choose(struct tracees *tracees);

/* After the clone: those that were only read and have run since are missing. */
void tracees_check(struct tracees *tracees);

/* Let those go that stand still. */
void tracees_release(struct tracees *tracees);

/* Let the late ones go that stand still by now. Returns how many do not yet. */
uint32_t tracees_release_late(struct tracees *tracees);

#endif
