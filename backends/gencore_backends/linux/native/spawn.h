/* SPDX-License-Identifier: Apache-2.0 */
/* Starts a program that is nobody's child, as far as the application can see. */
#ifndef GENCORE_SPAWN_H
#define GENCORE_SPAWN_H

struct spawn_order {
	const char *path;
	char *const *arguments;
	char *const *environment;
	int input;    /* becomes its standard input */
	int messages; /* becomes its standard error, or -1; no other descriptor is passed on */
};

/*
 * Start it, in a session of its own, with all signals at their defaults and none blocked, as an
 * ordinary process where this one is a real-time process; what it prints elsewhere is discarded. Returns its pidfd, or -1 with errno set. No lock is taken that another
 * thread could hold, and nothing is allocated by malloc.
 */
int spawn_detached(const struct spawn_order *order);

#endif
