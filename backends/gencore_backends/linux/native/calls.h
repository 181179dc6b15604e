/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls that block: what becomes of each when a signal interrupts it. */
#ifndef GENCORE_CALLS_H
#define GENCORE_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CALL_ARGUMENTS = 6 };

/* Who makes a call go on that a handler with SA_RESTART has interrupted; see signal(7). */
enum call_restart {
	RESTARTED, /* the kernel */
	SET_BACK,  /* nobody: it ends with EINTR, unless the context is set back onto it */
};

/* How a call is given its timeout, and whether it can be run again for the rest of it. */
enum call_timeout {
	NO_TIMEOUT,	     /* or an absolute one: running it again changes nothing */
	MILLISECONDS,	     /* an int; negative waits for ever */
	RELATIVE,	     /* a pointer, or NULL for ever; what is left is written nowhere */
	TIMESPEC_LEFT,	     /* the same, but the kernel writes what is left (fs/select.c) */
	TIMEVAL_LEFT,	     /* the same, as a struct timeval */
	UNLESS_ABSOLUTE,     /* a pointer; absolute if the second argument has TIMER_ABSTIME */
	FUTEX_TIMEOUT,	     /* a pointer; relative for FUTEX_WAIT alone, see futex(2) */
	IO_URING_TIMEOUT,    /* a pointer in a structure, see io_uring_enter(2) */
	RECEIVE_TIMEOUT,     /* SO_RCVTIMEO of the first argument, see socket(7) */
	SEND_TIMEOUT,	     /* SO_SNDTIMEO */
};

/* What a call returns early with when a handler interrupts it, although it wanted more. */
enum call_transfer {
	NO_TRANSFER,
	BYTES,		   /* argument 1: buffer, 2: bytes */
	BYTES_IF_WAITALL,  /* the same, if argument 3 has MSG_WAITALL */
	VECTOR,		   /* argument 1: struct iovec, 2: their number */
	MESSAGE,	   /* argument 1: struct msghdr, 2: flags */
	MESSAGE_IF_WAITALL,
	MESSAGES,	   /* argument 1: struct mmsghdr, 2: their number */
	FILE_TO_SOCKET,	   /* argument 0: socket, 3: bytes */
	PIPE_TO_SOCKET,	   /* argument 2: perhaps a socket, 4: bytes */
	RANDOM_BYTES,	   /* argument 0: buffer, 1: bytes */
	SUBMISSIONS,	   /* argument 1: how many; it returns them instead of waiting on */
};

struct blocking_call {
	const char *name;
	long number;
	enum call_restart restart;
	enum call_timeout timeout;
	uint8_t timeout_argument;
	enum call_transfer transfer;
};

extern const struct blocking_call blocking_calls[];
extern const size_t blocking_call_count;

/* The row of a call, or NULL: it does not block, or nothing is known of it. */
const struct blocking_call *blocking_call_find(long number);

/*
 * Whether the kernel restarts a call with these arguments after a handler with SA_RESTART. False
 * for one that is not in the table.
 */
bool call_is_restarted(const struct blocking_call *call, const unsigned long *args);

/* The socket option that may limit how long a call waits, or 0; and whether a socket has it set. */
int call_socket_option(const struct blocking_call *call);
bool socket_has_timeout(int fd, int option);

/* Whether a socket option limits how long a call with these arguments waits. */
bool call_has_socket_timeout(const struct blocking_call *call, const unsigned long *args);

/*
 * Whether CPython, if it has made this call, calls again after EINTR for the time that is left
 * (PEP 475). Not where a socket option has the timeout, nor where the call waits for signals.
 */
bool call_is_retried_by_cpython(const struct blocking_call *call, const unsigned long *args);

/* Whether a call, set back onto its instruction, may wait longer than it was asked to. */
bool call_loses_time(const struct blocking_call *call, const unsigned long *args);

/* Whether a call may return with a part of what it was asked to move. */
bool call_moves_in_part(const struct blocking_call *call, const unsigned long *args);

/*
 * Take the time that a thread was stopped off the time that its call has left, where the kernel
 * has written that down.
 */
void call_shorten_timeout(const struct blocking_call *call, const unsigned long *args,
			  uint64_t stopped_ns);

#endif
