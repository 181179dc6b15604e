/* SPDX-License-Identifier: Apache-2.0 */
/* Starts a program that is nobody's child, as far as the application can see. */
#ifndef GENCORE_SPAWN_H
#define GENCORE_SPAWN_H

struct spawn_order {
	char *const *arguments; /* the first is the program's path */
	char *const *environment;
	int input;    /* becomes its standard input */
	int messages; /* becomes its standard error, or -1; no other descriptor is passed on */
};

/*
 * Start it, in a session of its own, with all signals at their defaults and none blocked, as an
 * ordinary process where this one is a real-time process; what it prints elsewhere is discarded.
 * Returns its pidfd, or -1 with errno set. No lock is taken that another thread could hold, and
 * nothing is allocated by malloc.
 */
int spawn_detached(const struct spawn_order *order);

/*
 * Runs in the child, which has blocked all signals: the same, for a process whose children the
 * application does not see. *cpus* is the number of processors online.
 */
int clone_spawn(const struct spawn_order *order, long cpus);

#endif
