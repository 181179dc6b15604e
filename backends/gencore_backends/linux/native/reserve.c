// SPDX-License-Identifier: Apache-2.0
/*
 * Who leaks descriptors is to be dumped when there are none, and a dump needs some: to look, to
 * start a process, to be asked, and for the clone. Another thread may take them when they are lent;
 * most wait for something then that needs one.
 */
#define _GNU_SOURCE
#include "reserve.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RESERVE = 12 }; /* more than a request and the start of a requester need at a time */

static int reserve[RESERVE]; /* 0: none */

static int copy(int socket)
{
	int fd = fcntl(socket, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

	return fd > 0 ? fd : 0;
}

/* A program may have closed all descriptors, and have opened a file with that number. */
static bool is_ours(int fd, int socket)
{
	struct stat file, own;

	return !fstat(fd, &file) && !fstat(socket, &own) && S_ISSOCK(own.st_mode) &&
	       file.st_dev == own.st_dev && file.st_ino == own.st_ino;
}

void reserve_take(int socket)
{
	for (int i = 0; i < RESERVE; i++)
		if (!reserve[i])
			reserve[i] = copy(socket);
}

void reserve_give_back(int socket)
{
	for (int i = 0; i < RESERVE; i++) {
		if (reserve[i] && is_ours(reserve[i], socket))
			close(reserve[i]);
		reserve[i] = 0;
	}
}

void reserve_lend(int socket)
{
	int fd = copy(socket);

	if (fd)
		close(fd);
	else
		reserve_give_back(socket);
}
