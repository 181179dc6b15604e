/* SPDX-License-Identifier: Apache-2.0 */
/* The agent: a sleeping thread that lets other processes capture this one. Needs no GIL. */
#ifndef GENCORE_AGENT_H
#define GENCORE_AGENT_H

#include <stdbool.h>

#include "triggers.h"

/*
 * Listen and start the thread; does nothing if it runs. *directory*, 0700 and this user's, may be
 * empty: then there is the abstract socket alone. Returns 0, or -1 with errno set.
 */
int agent_arm(const char *directory);

/* End the thread and close the sockets. */
void agent_disarm(void);

bool agent_is_armed(void);

/* As triggers_set(). They stay until they are set anew, and are looked at while the agent runs. */
int agent_set_triggers(const struct trigger *rows, size_t count, const struct cgroup_files *files,
		       const struct requester *requester);

/*
 * Around an os.fork() of CPython 3.12 or later, which warns of other threads: end the thread, but go
 * on listening, and start it again.
 */
void agent_pause(void);
void agent_resume(void);

/* In a child of fork(2): what was inherited is closed, and an armed process's child is armed. */
void agent_after_fork(void);

#endif
