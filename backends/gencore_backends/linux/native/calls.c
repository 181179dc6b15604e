// SPDX-License-Identifier: Apache-2.0
/*
 * One row for each system call that blocks. Sources: signal(7), "Interruption of system calls and
 * library functions by signal handlers"; the man page of each call; fs/select.c, kernel/futex/,
 * io_uring/, mm/shmem.c of the kernel. The native tests run every row.
 */
#define _GNU_SOURCE
#include "calls.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "memory_access.h"

/* Numbers that older headers lack; the same on every architecture. */
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef IORING_ENTER_EXT_ARG
#define IORING_ENTER_EXT_ARG 8 /* include/uapi/linux/io_uring.h */
#endif

/* Beyond it nanoseconds do not fit into 64 bits, and some milliseconds do not matter. */
enum { LONGEST_S = 1000000000 };

#define ROW(name, ...) {#name, SYS_##name, __VA_ARGS__}

const struct blocking_call blocking_calls[] = {
	/*  call           goes on by  its timeout      at  returns a part */
	ROW(read,            RESTARTED, RECEIVE_TIMEOUT,  0, NO_TRANSFER),
	ROW(readv,           RESTARTED, RECEIVE_TIMEOUT,  0, NO_TRANSFER),
	ROW(recvfrom,        RESTARTED, RECEIVE_TIMEOUT,  0, BYTES_IF_WAITALL),
	ROW(recvmsg,         RESTARTED, RECEIVE_TIMEOUT,  0, MESSAGE_IF_WAITALL),
	ROW(recvmmsg,        RESTARTED, RELATIVE,         4, MESSAGES),
	ROW(accept4,         RESTARTED, RECEIVE_TIMEOUT,  0, NO_TRANSFER),
	ROW(accept,          RESTARTED, RECEIVE_TIMEOUT,  0, NO_TRANSFER),
	ROW(connect,         RESTARTED, SEND_TIMEOUT,     0, NO_TRANSFER),
	ROW(write,           RESTARTED, SEND_TIMEOUT,     0, BYTES),
	ROW(writev,          RESTARTED, SEND_TIMEOUT,     0, VECTOR),
	ROW(sendto,          RESTARTED, SEND_TIMEOUT,     0, BYTES),
	ROW(sendmsg,         RESTARTED, SEND_TIMEOUT,     0, MESSAGE),
	ROW(sendmmsg,        RESTARTED, SEND_TIMEOUT,     0, MESSAGES),
	ROW(sendfile,        RESTARTED, SEND_TIMEOUT,     0, FILE_TO_SOCKET),
	ROW(splice,          RESTARTED, NO_TIMEOUT,       0, PIPE_TO_SOCKET),
	ROW(tee,             RESTARTED, NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(vmsplice,        RESTARTED, NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(getrandom,       RESTARTED, NO_TIMEOUT,       0, RANDOM_BYTES),
	ROW(openat,          RESTARTED, NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(wait4,           RESTARTED, NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(waitid,          RESTARTED, NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(flock,           RESTARTED, NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(fcntl,           RESTARTED, NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(mq_timedreceive, RESTARTED, NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(mq_timedsend,    RESTARTED, NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(futex,           RESTARTED, FUTEX_TIMEOUT,    3, NO_TRANSFER),
	ROW(futex_waitv,     RESTARTED, NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(ppoll,           SET_BACK,  TIMESPEC_LEFT,    2, NO_TRANSFER),
	ROW(pselect6,        SET_BACK,  TIMESPEC_LEFT,    4, NO_TRANSFER),
	ROW(epoll_pwait,     SET_BACK,  MILLISECONDS,     3, NO_TRANSFER),
	ROW(epoll_pwait2,    SET_BACK,  RELATIVE,         3, NO_TRANSFER),
	ROW(rt_sigsuspend,   SET_BACK,  NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(msgrcv,          SET_BACK,  NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(msgsnd,          SET_BACK,  NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(semop,           SET_BACK,  NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(semtimedop,      SET_BACK,  RELATIVE,         3, NO_TRANSFER),
	ROW(nanosleep,       SET_BACK,  RELATIVE,         0, NO_TRANSFER),
	ROW(clock_nanosleep, SET_BACK,  UNLESS_ABSOLUTE,  2, NO_TRANSFER),
	ROW(io_getevents,    SET_BACK,  RELATIVE,         4, NO_TRANSFER),
	ROW(io_pgetevents,   SET_BACK,  RELATIVE,         4, NO_TRANSFER),
	ROW(io_uring_enter,  SET_BACK,  IO_URING_TIMEOUT, 4, SUBMISSIONS),
	ROW(fallocate,       SET_BACK,  NO_TIMEOUT,       0, NO_TRANSFER),
#ifdef SYS_poll /* and the others that newer architectures do without */
	ROW(open,            RESTARTED, NO_TIMEOUT,       0, NO_TRANSFER),
	ROW(poll,            SET_BACK,  MILLISECONDS,     2, NO_TRANSFER),
	ROW(select,          SET_BACK,  TIMEVAL_LEFT,     4, NO_TRANSFER),
	ROW(epoll_wait,      SET_BACK,  MILLISECONDS,     3, NO_TRANSFER),
	ROW(pause,           SET_BACK,  NO_TIMEOUT,       0, NO_TRANSFER),
#endif
};

const size_t blocking_call_count = sizeof(blocking_calls) / sizeof(*blocking_calls);

const struct blocking_call *blocking_call_find(long number)
{
	for (size_t i = 0; i < blocking_call_count; i++)
		if (blocking_calls[i].number == number)
			return &blocking_calls[i];
	return NULL;
}

static bool is_socket(unsigned long fd)
{
	int type;
	socklen_t size = sizeof(type);

	return !getsockopt((int)fd, SOL_SOCKET, SO_TYPE, &type, &size);
}

bool socket_has_timeout(int fd, int option)
{
	struct timeval timeout = {0};
	socklen_t size = sizeof(timeout);

	return !getsockopt(fd, SOL_SOCKET, option, &timeout, &size) &&
	       (timeout.tv_sec || timeout.tv_usec);
}

int call_socket_option(const struct blocking_call *call)
{
	if (call->timeout == SEND_TIMEOUT)
		return SO_SNDTIMEO;
	return call->timeout == RECEIVE_TIMEOUT || call->number == SYS_recvmmsg ? SO_RCVTIMEO : 0;
}

bool call_has_socket_timeout(const struct blocking_call *call, const unsigned long *args)
{
	int option = call_socket_option(call);

	return option && socket_has_timeout((int)args[0], option);
}

bool call_is_restarted(const struct blocking_call *call, const unsigned long *args)
{
	if (!call || call->restart != RESTARTED)
		return false;
	if (call->timeout == FUTEX_TIMEOUT)
		return !args[call->timeout_argument];
	return !call_has_socket_timeout(call, args);
}

/* pause(2), which the C library makes of ppoll(2) where there is no such call. */
static bool waits_for_signals(const struct blocking_call *call, const unsigned long *args)
{
#ifdef SYS_pause
	if (call->number == SYS_pause)
		return true;
#endif
	return call->number == SYS_rt_sigsuspend ||
	       (call->number == SYS_ppoll && !args[1] && !args[2]);
}

bool call_is_retried_by_cpython(const struct blocking_call *call, const unsigned long *args)
{
	return !call_has_socket_timeout(call, args) && !waits_for_signals(call, args);
}

/* struct io_uring_getevents_arg: sigmask, its size, the least wait, and a pointer to the timeout. */
static bool io_uring_waits_so_long(const unsigned long *args)
{
	uint64_t argument[3] = {0};

	return args[3] & IORING_ENTER_EXT_ARG &&
	       (memory_read(args[4], argument, sizeof(argument)) || argument[2]);
}

bool call_loses_time(const struct blocking_call *call, const unsigned long *args)
{
	unsigned long timeout = args[call->timeout_argument];

	switch (call->timeout) {
	case NO_TIMEOUT:
		return false;
	case MILLISECONDS:
		return (int)timeout > 0;
	case RELATIVE:
		return timeout || call_has_socket_timeout(call, args);
	case TIMESPEC_LEFT: /* in memory that is read-only the kernel writes nothing */
	case TIMEVAL_LEFT:
		return timeout && !memory_is_writable(timeout);
	case UNLESS_ABSOLUTE:
		return !(args[1] & TIMER_ABSTIME);
	case FUTEX_TIMEOUT:
		return timeout && ((int)args[1] & FUTEX_CMD_MASK) == FUTEX_WAIT;
	case IO_URING_TIMEOUT:
		return io_uring_waits_so_long(args);
	case RECEIVE_TIMEOUT:
	case SEND_TIMEOUT:
		return call_has_socket_timeout(call, args);
	}
	return true;
}

bool call_moves_in_part(const struct blocking_call *call, const unsigned long *args)
{
	switch (call->transfer) {
	case NO_TRANSFER:
		return false;
	case BYTES_IF_WAITALL: /* MSG_PEEK begins at the first byte each time */
		return (args[3] & (MSG_WAITALL | MSG_PEEK)) == MSG_WAITALL;
	case MESSAGE_IF_WAITALL:
		return (args[2] & (MSG_WAITALL | MSG_PEEK)) == MSG_WAITALL;
	case MESSAGES: /* recvmmsg(2) may be asked to return after the first */
		return !(args[3] & MSG_WAITFORONE);
	case PIPE_TO_SOCKET:
		return is_socket(args[2]);
	case SUBMISSIONS:
		return args[1] != 0;
	default:
		return true;
	}
}

void call_shorten_timeout(const struct blocking_call *call, const unsigned long *args,
			  uint64_t stopped_ns)
{
	unsigned long address = args[call->timeout_argument];
	int64_t unit = call->timeout == TIMEVAL_LEFT ? 1000 : 1;
	struct timespec *span = (struct timespec *)address; /* a struct timeval has its shape */
	int64_t left;

	if ((call->timeout != TIMESPEC_LEFT && call->timeout != TIMEVAL_LEFT) || !address ||
	    !memory_is_writable(address) || span->tv_sec > LONGEST_S)
		return;
	left = (int64_t)span->tv_sec * 1000000000 + span->tv_nsec * unit - (int64_t)stopped_ns;
	left = left > 0 ? left : 0;
	span->tv_sec = left / 1000000000;
	span->tv_nsec = left % 1000000000 / unit;
}
