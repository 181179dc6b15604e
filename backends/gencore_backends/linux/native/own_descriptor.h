/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor that is kept for long. A program that becomes a daemon closes all that are open, and
 * its own files get their numbers: neither read, nor written, nor closed by who had them before.
 */
#ifndef GENCORE_OWN_DESCRIPTOR_H
#define GENCORE_OWN_DESCRIPTOR_H

#include <stdbool.h>
#include <sys/types.h>

/* Without one, all is zero. */
struct own_descriptor {
	int fd;
	dev_t device;
	ino_t inode; /* of a socket its own; all of eventfd(2), epoll(7) and the like have the same */
};

/* Keep a new descriptor; none if it is negative. */
struct own_descriptor own_descriptor(int fd);

/* Whether there was one, and its number means another file now, or none. */
bool own_is_lost(const struct own_descriptor *own);

/* Close it unless it is lost. Then there is none. */
void own_close(struct own_descriptor *own);

#endif
