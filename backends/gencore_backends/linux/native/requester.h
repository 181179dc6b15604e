/* SPDX-License-Identifier: Apache-2.0 */
/* The command that dumps this process from outside, kept ready to be started without the GIL. */
#ifndef GENCORE_REQUESTER_H
#define GENCORE_REQUESTER_H

#include <stddef.h>
#include <sys/types.h>

struct requester {
	void *memory; /* of its own; NULL: there is none */
	size_t size;
	char **arguments; /* the last three are set at the start */
	char **environment;
	char **added;
	dev_t device; /* of the file that standard error was when this was made */
	ino_t inode;
};

/* Copy it; the path is the first argument. Returns 0, or -1 with errno set. */
int requester_make(struct requester *ret, char *const *arguments, char *const *environment);
void requester_free(struct requester *requester);

/*
 * Start it for this process, as spawn_detached() does: its messages go where this process's do. It
 * is given what fired and the reason, and the process ID.
 */
int requester_start(const struct requester *requester, const char *fired, const char *reason);

/* Standard error, or -1 where the application has put another file in its place, or none. */
int requester_messages(const struct requester *requester);

#endif
