// SPDX-License-Identifier: Apache-2.0
/*
 * The table is that of calls.c. Which calls return EINTR although no handler runs: ptrace(2),
 * "EINTR", signal(7), and ep_poll(), do_semtimedop(), read_events(), do_sigtimedwait(),
 * io_cqring_wait(), sock_intr_errno() of the kernel.
 */
#define _GNU_SOURCE
#include "traced_calls.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "calls.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438 /* the same on every architecture, Linux 5.6 */
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

static const long ending[] = {
	SYS_epoll_pwait, SYS_epoll_pwait2, SYS_semop, SYS_semtimedop, SYS_io_getevents,
	SYS_io_pgetevents, SYS_io_uring_enter, SYS_rt_sigtimedwait,
#ifdef SYS_epoll_wait
	SYS_epoll_wait,
#endif
};

static bool always_ends(const struct thread_call *call)
{
	for (size_t i = 0; i < sizeof(ending) / sizeof(*ending); i++)
		if (call->number == ending[i])
			return true;
	return false;
}

/* Not every call that returns EINTR: close(2) has closed. */
bool traced_call_can_run_again(const struct thread_call *call)
{
	return always_ends(call) || blocking_call_find(call->number);
}

/* The options of a socket are those of the open file: any descriptor of it shows them. */
static bool has_socket_timeout(const struct thread_call *call, int option, int pidfd)
{
	long fd = option ? syscall(SYS_pidfd_getfd, pidfd, (int)call->args[0], 0) : -1;
	bool limited = fd >= 0 && socket_has_timeout((int)fd, option);

	if (fd >= 0)
		close((int)fd);
	return limited;
}

/* A timeout would begin anew. It is an argument, or behind a pointer that is not looked through. */
static bool loses_time(const struct blocking_call *row, const struct thread_call *call)
{
	if (call->number == SYS_rt_sigtimedwait)
		return call->args[2] != 0;
	if (!row || !always_ends(call))
		return false;
	if (row->timeout == MILLISECONDS)
		return (int)call->args[row->timeout_argument] > 0;
	return row->timeout != NO_TIMEOUT && call->args[row->timeout_argument];
}

enum thread_reason traced_call_obstacle(const struct thread_call *call, int pidfd)
{
	const struct blocking_call *row = blocking_call_find(call->number);

	if (loses_time(row, call))
		return REASON_REMAINING_TIME;
	if (!row)
		return REASON_NONE;
	if (row->transfer == PIPE_TO_SOCKET || call_moves_in_part(row, call->args))
		return REASON_TRANSFER;
	return has_socket_timeout(call, call_socket_option(row), pidfd) ? REASON_REMAINING_TIME
									 : REASON_NONE;
}
