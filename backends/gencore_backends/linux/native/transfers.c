// SPDX-License-Identifier: Apache-2.0
/*
 * A signal handler makes write(2), send(2), recv(2) with MSG_WAITALL, sendfile(2) and getrandom(2)
 * return with less than they were asked for, where the kernel has moved a part before. Programs
 * without handlers never see that on blocking descriptors, and many do not expect it.
 *
 * Whether a short return is due to our signal cannot be seen. Asking for the rest is right in any
 * case, for descriptors on which the kernel itself would have waited: pipes, stream sockets,
 * terminals. Where there was another reason, the next call meets it too, and moves nothing.
 */
#define _GNU_SOURCE
#include "transfers.h"

#include <errno.h>
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
 * recvmmsg(2) that was interrupted after some messages leaves the kernel's own error number to the
 * next call on that socket (net/socket.c, do_recvmmsg()).
 */
enum { ERESTARTSYS = 512 };

/* One call for a part of what is left: returns what it moved, or -1. */
struct remainder {
	const struct blocking_call *call;
	const unsigned long *args;
	const _Atomic uint32_t *ours;
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

/* Repeat a call from *done* on, until *size* is moved. */
static long move_rest(const struct remainder *rest, size_t size, long done,
		      long (*move)(const struct remainder *rest, size_t done, size_t left))
{
	while ((size_t)done < size) {
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

static long move_messages(const struct remainder *rest, size_t done, size_t left)
{
	const unsigned long *args = rest->args;
	unsigned long first = args[1] + done * sizeof(struct mmsghdr);
	long moved = syscall(rest->call->number, args[0], first, left, args[3], args[4]);

	if (moved < 0 && errno == ERESTARTSYS)
		moved = syscall(rest->call->number, args[0], first, left, args[3], args[4]);
	return moved;
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

static long complete_pieces(const struct remainder *rest, long moved)
{
	struct pieces pieces;
	struct iovec piece;

	if (find_pieces(rest, &pieces))
		return moved;
	return move_rest(rest, find_piece(&pieces, 0, &piece), moved, move_pieces);
}

long transfer_complete(const struct blocking_call *call, const unsigned long *args, long moved,
		       const _Atomic uint32_t *ours)
{
	const struct remainder rest = {call, args, ours};
	int fd = (int)args[0];

	if (!call_moves_in_part(call, args))
		return moved;
	switch (call->transfer) {
	case RANDOM_BYTES:
		return move_rest(&rest, args[1], moved, move_random);
	case MESSAGES:
		return move_rest(&rest, args[2], moved, move_messages);
	case FILE_TO_SOCKET:
		return is_stream_socket(fd) ? move_rest(&rest, args[3], moved, move_file) : moved;
	case BYTES:
	case BYTES_IF_WAITALL:
		return waits_for_all(fd) ? move_rest(&rest, args[2], moved, move_bytes) : moved;
	default:
		return waits_for_all(fd) ? complete_pieces(&rest, moved) : moved;
	}
}
