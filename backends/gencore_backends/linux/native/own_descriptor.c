// SPDX-License-Identifier: Apache-2.0
/* Two system calls: handlers of signals, and children of fork(2), may use it. */
#define _GNU_SOURCE
#include "own_descriptor.h"

#include <sys/stat.h>
#include <unistd.h>

struct own_descriptor own_descriptor(int fd)
{
	struct own_descriptor own = {.fd = fd};
	struct stat file;

	if (fd < 0 || fstat(fd, &file))
		return (struct own_descriptor){.fd = 0};
	own.device = file.st_dev;
	own.inode = file.st_ino;
	return own;
}

bool own_is_lost(const struct own_descriptor *own)
{
	struct stat file;

	if (own->fd <= 0)
		return false;
	return fstat(own->fd, &file) || file.st_dev != own->device || file.st_ino != own->inode;
}

void own_close(struct own_descriptor *own)
{
	if (own->fd > 0 && !own_is_lost(own))
		close(own->fd);
	*own = (struct own_descriptor){.fd = 0};
}
