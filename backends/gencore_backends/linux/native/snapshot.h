/* SPDX-License-Identifier: Apache-2.0 */
/* What the Python face, the instant and the code after the fork agree on. */
#ifndef GENCORE_SNAPSHOT_H
#define GENCORE_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "arch.h"
#include "spawn.h"
#include "steps.h"
#include "threads.h"

/* A failed step. err is an errno value. */
struct step_failure {
	int32_t step;
	int32_t err;
};

/* What the snapshot tells its parent through the status pipe. Small enough to be atomic. */
enum message_kind {
	MESSAGE_FAILURE,	 /* first: step, second: errno */
	MESSAGE_SIZE,		 /* first: bytes of the whole core, second: of headers and notes */
	MESSAGE_UNREADABLE,	 /* first: address, second: bytes that the core does not have */
	MESSAGE_MORE_UNREADABLE, /* first: number of such ranges, second: bytes of all */
	MESSAGE_NOT_INHERITED,	 /* MADV_DONTFORK; first: number of mappings, second: bytes of all */
	MESSAGE_WIPED,		 /* MADV_WIPEONFORK; the same */
	MESSAGE_STEP,	    /* first: the step that begins */
	MESSAGE_DONE,	    /* the core is as long as promised */
	MESSAGE_MARKED_FILES,	 /* MADV_DONTDUMP; first: number of mappings of files */
	MESSAGES,
};

struct snapshot_message {
	uint64_t kind;
	uint64_t first;
	uint64_t second;
};

/* Which memory the snapshot writes. The names are those of DumpRequest.content. */
enum core_content {
	CONTENT_FULL,	 /* what coredump_filter 0xFF gives, see core(5) */
	CONTENT_PRIVATE, /* without clean pages of files, but with the first page of ELF files */
	CONTENT_STACKS,	 /* of anonymous memory, only the threads' stacks, those of Python too */
	CONTENT_TRIAGE,	 /* the same, without what lies beside Python's */
	CONTENTS,
};

/* Whether of anonymous memory only stacks and what readers of them need go into the core. */
static inline bool is_limited(enum core_content content)
{
	return content == CONTENT_STACKS || content == CONTENT_TRIAGE;
}

/* A piece of memory. */
struct range {
	uintptr_t start;
	uintptr_t end;
};

struct ranges {
	const struct range *rows; /* in order of address */
	size_t count;
};

/* What a snapshot is asked to do, and the descriptors it may use. */
struct snapshot_order {
	bool kernel_writes;		/* die of SIGSEGV, after a file with all notes */
	int directory_fd;		/* kernel_writes: where the core and "notes" go */
	unsigned int coredump_filter;	/* kernel_writes: core(5), /proc/PID/coredump_filter */
	int core_fd;			/* otherwise: a pipe, or an empty file */
	enum core_content content;	/* otherwise */
	struct ranges excluded;		/* wiped in the snapshot before anything is written */
	bool with_dontdump;		/* take in what madvise(MADV_DONTDUMP) leaves out */
	bool allow_undumpable;		/* the clone, and only it, makes itself dumpable */
	enum thread_mode threads;
	unsigned int timeout_ms; /* for stopping threads */
	bool main_first;	 /* debuggers select the main thread, not the calling one */
	int reader;		 /* pidfd of the process that reads the core; negative: this one */
	const struct spawn_order *recorder; /* or NULL: started by the clone, to read the core */
};

/* The image as the child finds it in its memory. */
struct image {
	const struct snapshot_order *order;
	struct thread_table threads;
	arch_registers caller;
	pid_t pid, ppid, pgrp, sid;
	uint32_t uid, gid;
	uint64_t stop_ns;
	uint64_t mapped; /* pages of address space at the instant, or 0 if that is not known */
	long cpus;  /* online */
	int reader; /* the same, or -1 where seccomp forbids pidfd_open(2) */
	int status_fd;
};

/* Where the stack of a thread ends at the instant, or 0 if that is not known. */
static inline uintptr_t stack_pointer_of(const struct image *image, uint32_t index)
{
	const struct thread *thread = &image->threads.threads[index];

	if (index == 0)
		return arch_stack_pointer(&image->caller);
	if (thread_state(thread) == THREAD_STOPPED)
		return thread->context ? arch_sp(thread->context) : 0;
	return thread_state(thread) == THREAD_READ ? thread->call.sp : 0;
}

/* A running snapshot, as its parent holds it. */
struct snapshot {
	pid_t pid;
	int pidfd;     /* readable when the child has ended; close-on-exec */
	int status_fd; /* read end: messages, then end of file */
	struct thread_table threads;
	uint64_t stop_ns;
	uint64_t clone_ns;
	uint64_t release_ns;
};

/* Stop the threads, clone, let them go on. Returns 0, or -1 with *failure filled in. */
int snapshot_take(const struct snapshot_order *order, struct snapshot *ret,
		  struct step_failure *failure);

/* The child's whole life. See the contract in after_fork.c. */
_Noreturn void clone_main(const struct image *image);

#endif
