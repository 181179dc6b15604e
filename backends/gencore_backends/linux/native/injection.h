/* SPDX-License-Identifier: Apache-2.0 */
/* A system call that a stopped thread of another process makes for us, and never knows of. */
#ifndef GENCORE_INJECTION_H
#define GENCORE_INJECTION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tracees.h"

/* Instructions that are found in the process: nothing is written into its code. */
struct found_code {
	uintptr_t call;	  /* a system call, and a return */
	uintptr_t return_; /* rt_sigreturn(2) */
};

/* Memory below a stack that was borrowed: what was there. */
struct borrowed {
	uintptr_t at;
	size_t size;
	void *before;
};

struct injected_call {
	long number;
	unsigned long args[6];
	long result;
	pid_t child; /* of clone(2): as this process sees it, attached, it will stop */
};

/* Look for the code, before anybody is stopped. Returns 0, or -1 with errno set: ENOEXEC: none. */
int injection_find_code(pid_t pid, struct found_code *ret);

/*
 * Let a stopped thread make the call, and set it back: it is as it was, stopped. Returns 0, or -1
 * with errno set. After a failure the thread, once it is let go, finds its own way back.
 * A child gets a stack of its own, on which it would end if it ever ran; *borrowed is what is to
 * be written back into its memory, see injection_give_back().
 */
int injection_run(const struct tracees *tracees, struct tracee *tracee,
		  const struct found_code *code, struct injected_call *call,
		  struct borrowed *borrowed);

/*
 * Let a child that stands at its beginning close its descriptors, which it shares with its parent
 * until then. Best effort: Linux 5.9, and seccomp may forbid it.
 */
void injection_close_descriptors(pid_t child, const struct found_code *code,
				 const struct borrowed *borrowed);

/* Write back what was there, and forget it if *pid* is 0. Returns 0, or -1 with errno set. */
int injection_give_back(pid_t pid, struct borrowed *borrowed);

#endif
