/* SPDX-License-Identifier: Apache-2.0 */
/* Ends the clone when its reader has ended, whoever else holds the pipe between the two. */
#ifndef GENCORE_LIFELINE_H
#define GENCORE_LIFELINE_H

#include <sys/types.h>

/* Runs in the child: both functions, and the one that says whom they watch. */

/* *reader* is a pidfd of the reading process, or -1; then *parent* is, which made the clone. */
void clone_watch_reader(int reader, pid_t parent);

/* Returns 0 while the reader lives, then -1 with errno ESRCH. */
int clone_check_reader(void);

/*
 * Wait until a non-blocking descriptor takes bytes again, or has an error that the next write
 * returns. Returns 0, or -1 with errno ESRCH (the reader has ended) or ETIMEDOUT (it lives, and
 * has read nothing for ten minutes).
 */
int clone_wait_for_room(int fd);

#endif
