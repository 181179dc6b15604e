// SPDX-License-Identifier: Apache-2.0
/*
 * A signal handler makes write(2), send(2), recv(2) with MSG_WAITALL, sendfile(2) and getrandom(2)
 * return with less than they were asked for, where the kernel has moved a part before. Programs
 * without handlers never see that on blocking descriptors, and many do not expect it.
 *
 * Whether a short return is due to our signal cannot be seen. Asking for the rest is right in any
 * case, for descriptors on which the kernel itself would have waited: pipes, stream sockets,
 * terminals. Where there was another reason, the next call of the application meets it.
 */
#define _GNU_SOURCE
#include "transfers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#include "memory_access.h"

/*
 * include/linux/errno.h: recvmmsg(2) keeps the error that has ended it for the next call, and so
 * this one comes to light.
 */
#define ERESTARTSYS 512

/* One call for a part of what is left: returns what it moved, or -1. */
struct remainder {
	const struct blocking_call *call;
	const unsigned long *args;
	const _Atomic uint32_t *ours;
	struct pollfd ready; /* what must be ready before; fd is -1 if nothing must */
	bool waits;	     /* until it is */
};

static bool is_stream_socket(int fd)
{
	int type = 0;
	socklen_t size = sizeof(type);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_STREAM;
}

/* Whether the kernel moves all, on a blocking descriptor of this kind, unless interrupted. */
static bool waits_for_all(int fd)
{
	struct stat status;
	struct termios terminal;

	if (is_stream_socket(fd))
		return true;
	if (fstat(fd, &status))
		return false;
	return S_ISFIFO(status.st_mode) ||
	       (S_ISCHR(status.st_mode) && !syscall(SYS_ioctl, fd, TCGETS, &terminal));
}

/*
 * Wait until a call can move something at once. Where it has moved a part, any handler of the
 * application ends it; before that, one with SA_RESTART would not, but ppoll(2) ends in any case.
 * An error is left for the application's own next call, which the kernel reports only once, and of
 * which a send would die by SIGPIPE.
 */
static bool wait_until_ready(const struct remainder *rest)
{
	struct pollfd ready = rest->ready;
	struct timespec at_once = {0};
	uint32_t before;
	long result;

	if (ready.fd < 0)
		return true;
	do {
		before = atomic_load(rest->ours);
		result = syscall(SYS_ppoll, &ready, 1, rest->waits ? NULL : &at_once, NULL, 0);
	} while (result < 0 && errno == EINTR && atomic_load(rest->ours) != before);
	if (rest->call->number == SYS_recvmmsg) /* the error is its own, see ERESTARTSYS */
		return result > 0;
	return result > 0 && !(ready.revents & POLLERR) &&
	       !(ready.events & POLLOUT && ready.revents & POLLHUP);
}

static bool receives(const struct blocking_call *call)
{
	return call->transfer == BYTES_IF_WAITALL || call->transfer == MESSAGE_IF_WAITALL ||
	       call->number == SYS_recvmmsg;
}

/* The flags of send(2) and recv(2) and their likes, or 0. */
static unsigned long flags_of(const struct blocking_call *call, const unsigned long *args)
{
	switch (call->transfer) {
	case MESSAGE:
	case MESSAGE_IF_WAITALL:
		return args[2];
	case BYTES:
		return call->number == SYS_sendto ? args[3] : 0;
	case BYTES_IF_WAITALL:
	case MESSAGES:
		return args[3];
	default:
		return 0;
	}
}

/* A call that does not wait, or not for ever, is not waited for either. */
static bool waits(const struct blocking_call *call, const unsigned long *args, int fd)
{
	long flags = syscall(SYS_fcntl, fd, F_GETFL);

	return flags >= 0 && !(flags & O_NONBLOCK) && !(flags_of(call, args) & MSG_DONTWAIT) &&
	       !call_loses_time(call, args);
}

static struct pollfd ready_for(const struct blocking_call *call, const unsigned long *args)
{
	int fd = (int)args[call->transfer == PIPE_TO_SOCKET ? 2 : 0];

	if (call->transfer == RANDOM_BYTES)
		fd = -1;
	return (struct pollfd){.fd = fd, .events = receives(call) ? POLLIN : POLLOUT};
}

/* Repeat a call from *done* on, until *size* is moved. */
static long move_rest(const struct remainder *rest, size_t size, long done,
		      long (*move)(const struct remainder *rest, size_t done, size_t left))
{
	while ((size_t)done < size && wait_until_ready(rest)) {
		uint32_t before = atomic_load(rest->ours);
		long part = move(rest, (size_t)done, size - (size_t)done);
		bool by_us = atomic_load(rest->ours) != before;

		if (part > 0)
			done += part;
		if (by_us && (part > 0 || (part < 0 && errno == EINTR)))
			continue;
		if (part <= 0 || (size_t)done < size)
			break;
	}
	return done;
}

static long move_bytes(const struct remainder *rest, size_t done, size_t left)
{
	const unsigned long *args = rest->args;

	return syscall(rest->call->number, args[0], args[1] + done, left, args[3], args[4],
		       args[5]);
}

static long move_random(const struct remainder *rest, size_t done, size_t left)
{
	return syscall(SYS_getrandom, rest->args[0] + done, left, rest->args[2]);
}

static long move_file(const struct remainder *rest, size_t done, size_t left)
{
	(void)done; /* the kernel keeps the offset */
	return syscall(SYS_sendfile, rest->args[0], rest->args[1], rest->args[2], left);
}

/* What the pipe does not hold any more is not waited for: the kernel would not do that either. */
static long move_from_pipe(const struct remainder *rest, size_t done, size_t left)
{
	const unsigned long *args = rest->args;

	(void)done;
	return syscall(SYS_splice, args[0], args[1], args[2], args[3], left,
		       args[5] | SPLICE_F_NONBLOCK);
}

/* Move one piece of memory the way the call moves many; what went with its begin is done. */
static long move_piece(const struct remainder *rest, struct iovec piece)
{
	unsigned long fd = rest->args[0];

	switch (rest->call->transfer) {
	case VECTOR:
		return syscall(SYS_write, fd, piece.iov_base, piece.iov_len);
	case MESSAGE:
		return syscall(SYS_sendto, fd, piece.iov_base, piece.iov_len, rest->args[2], NULL, 0);
	default:
		return syscall(SYS_recvfrom, fd, piece.iov_base, piece.iov_len, rest->args[2], NULL,
			       NULL);
	}
}

struct pieces {
	const struct iovec *rows;
	size_t count;
};

/* The memory of a call with many pieces. */
static int find_pieces(const struct remainder *rest, struct pieces *ret)
{
	struct msghdr message;

	if (rest->call->transfer == VECTOR) {
		*ret = (struct pieces){(const void *)rest->args[1], rest->args[2]};
		return 0;
	}
	if (memory_read(rest->args[1], &message, sizeof(message)))
		return -1;
	*ret = (struct pieces){message.msg_iov, message.msg_iovlen};
	return 0;
}

/* Of the piece at byte *done* of them all, what is left; returns the bytes of all pieces. */
static size_t find_piece(const struct pieces *pieces, size_t done, struct iovec *ret)
{
	size_t total = 0;

	*ret = (struct iovec){0};
	for (size_t i = 0; i < pieces->count; i++) {
		struct iovec piece = pieces->rows[i];

		if (done >= total && done < total + piece.iov_len) {
			ret->iov_base = (char *)piece.iov_base + (done - total);
			ret->iov_len = piece.iov_len - (done - total);
		}
		total += piece.iov_len;
	}
	return total;
}

static long move_pieces(const struct remainder *rest, size_t done, size_t left)
{
	struct pieces pieces;
	struct iovec piece;
	long moved = 0;

	if (find_pieces(rest, &pieces))
		return 0;
	while ((size_t)moved < left) {
		long part;

		find_piece(&pieces, done + (size_t)moved, &piece);
		part = move_piece(rest, piece);
		if (part <= 0)
			return moved ? moved : part;
		moved += part;
		if ((size_t)part < piece.iov_len)
			break;
	}
	return moved;
}

/* Descriptors that come with the rest of a message would be lost. */
static bool wants_ancillary_data(const struct remainder *rest)
{
	struct msghdr message = {0};

	return rest->call->transfer == MESSAGE_IF_WAITALL &&
	       (memory_read(rest->args[1], &message, sizeof(message)) || message.msg_control);
}

static long complete_pieces(const struct remainder *rest, long moved)
{
	struct pieces pieces;
	struct iovec piece;

	if (wants_ancillary_data(rest) || find_pieces(rest, &pieces))
		return moved;
	return move_rest(rest, find_piece(&pieces, 0, &piece), moved, move_pieces);
}

/*
 * sendmmsg(2) ends with a message that it has sent in part. Returns whether the message is whole
 * now. recvmmsg(2) goes on with the next one, and cannot be put right on a stream.
 */
static bool complete_last_message(const struct remainder *rest, size_t count)
{
	struct mmsghdr *message = (struct mmsghdr *)rest->args[1] + count - 1;
	const unsigned long args[] = {rest->args[0], (unsigned long)&message->msg_hdr, rest->args[3]};
	const struct remainder one = {blocking_call_find(SYS_sendmsg), args, rest->ours,
				      rest->ready, rest->waits};
	const struct pieces pieces = {message->msg_hdr.msg_iov, message->msg_hdr.msg_iovlen};
	struct iovec piece;

	if (rest->call->number != SYS_sendmmsg || !is_stream_socket((int)args[0]))
		return true;
	message->msg_len = (unsigned int)complete_pieces(&one, message->msg_len);
	return message->msg_len == find_piece(&pieces, 0, &piece);
}

static long move_messages(const struct remainder *rest, size_t done, size_t left)
{
	const unsigned long *args = rest->args;

	long result;

	if (!complete_last_message(rest, done))
		return 0;
	do
		result = syscall(rest->call->number, args[0],
				 args[1] + done * sizeof(struct mmsghdr), left, args[3], args[4]);
	while (result < 0 && errno == ERESTARTSYS);
	return result;
}

static long complete_messages(const struct remainder *rest, long moved)
{
	moved = move_rest(rest, rest->args[2], moved, move_messages);
	complete_last_message(rest, (size_t)moved);
	return moved;
}

/*
 * io_uring_enter(2) returns what it has submitted, whether it has waited or not: wait again, unless
 * there is a timeout, which would begin anew.
 */
static void wait_for_completions(const struct remainder *rest)
{
	const unsigned long *args = rest->args;
	uint32_t before;
	long result;

	if (call_loses_time(rest->call, args))
		return;
	do {
		before = atomic_load(rest->ours);
		result = syscall(SYS_io_uring_enter, args[0], 0, args[2], args[3], args[4], args[5]);
	} while (result < 0 && errno == EINTR && atomic_load(rest->ours) != before);
}

long transfer_complete(const struct blocking_call *call, const unsigned long *args, long moved,
		       const _Atomic uint32_t *ours)
{
	const struct pollfd ready = ready_for(call, args);
	const struct remainder rest = {call, args, ours, ready, waits(call, args, ready.fd)};
	int fd = (int)args[0];

	if (!call_moves_in_part(call, args))
		return moved;
	switch (call->transfer) {
	case SUBMISSIONS:
		wait_for_completions(&rest);
		return moved;
	case RANDOM_BYTES:
		return move_rest(&rest, args[1], moved, move_random);
	case MESSAGES:
		return complete_messages(&rest, moved);
	case PIPE_TO_SOCKET:
		return move_rest(&rest, args[4], moved, move_from_pipe);
	case FILE_TO_SOCKET:
		return is_stream_socket(fd) ? move_rest(&rest, args[3], moved, move_file) : moved;
	case BYTES:
	case BYTES_IF_WAITALL:
		return waits_for_all(fd) ? move_rest(&rest, args[2], moved, move_bytes) : moved;
	default:
		return waits_for_all(fd) ? complete_pieces(&rest, moved) : moved;
	}
}
