// SPDX-License-Identifier: Apache-2.0
/* Runs in the clone; the contract of after_fork.c holds for every function here. */
#define _GNU_SOURCE
#include "peek.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What every pipe has room for, and the smallest page: a piece is readable as a whole, or not. */
enum { PIECE = 4096 };

static char zeros[PIECE];
static char dropped[PIECE];

int clone_peek_open(struct peek *ret)
{
	int fds[2];

	if (syscall(SYS_pipe2, fds, O_CLOEXEC))
		return -1;
	*ret = (struct peek){.reader = fds[0], .writer = fds[1]};
	return 0;
}

/* Bytes up to the next border between pieces, at most *size*. */
static size_t clone_piece(uintptr_t at, size_t size)
{
	size_t piece = PIECE - at % PIECE;

	return piece < size ? piece : size;
}

size_t clone_peek(const struct peek *peek, void *to, uintptr_t from, size_t size)
{
	size_t done = 0;

	while (done < size) {
		size_t piece = clone_piece(from + done, size - done);
		long written = syscall(SYS_write, peek->writer, from + done, piece);

		if (written <= 0)
			break;
		if (syscall(SYS_read, peek->reader, (char *)to + done, (size_t)written) != written)
			break;
		done += (size_t)written;
	}
	return done;
}

bool clone_can_read(const struct peek *peek, uintptr_t from, size_t size)
{
	for (size_t piece; size; from += piece, size -= piece) {
		piece = clone_piece(from, size);
		if (clone_peek(peek, dropped, from, piece) != piece)
			return false;
	}
	return true;
}

int clone_zero(const struct peek *peek, uintptr_t at, size_t size)
{
	for (size_t piece; size; at += piece, size -= piece) {
		long done;
		int err;

		piece = clone_piece(at, size);
		if (syscall(SYS_write, peek->writer, zeros, piece) != (long)piece)
			return -1;
		done = syscall(SYS_read, peek->reader, at, piece);
		if (done == (long)piece)
			continue;
		err = done < 0 ? errno : EFAULT;
		syscall(SYS_read, peek->reader, dropped, piece); /* what nobody took */
		errno = err;
		return -1;
	}
	return 0;
}
