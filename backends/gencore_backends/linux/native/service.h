/* SPDX-License-Identifier: Apache-2.0 */
/* Answers requests for captures that other processes send over a socket. Needs no GIL. */
#ifndef GENCORE_SERVICE_H
#define GENCORE_SERVICE_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot.h"

/*
 * A request is one packet, with two descriptors where a capture is asked for: what the core is
 * written to, and a pidfd of the process that reads it. Names are those of DumpRequest.
 */
struct capture_request {
	char magic[8]; /* "gencore" */
	uint32_t version;
	uint32_t timeout_ms; /* for stopping threads */
	char action[16];     /* "describe", or "capture" */
	char content[16];
	char threads[16];
	uint32_t with_dontdump;
	uint32_t allow_undumpable;
};

/*
 * The answer is JSON in packets, until the end of the connection. With the first packet come the
 * descriptors that the answer lists: the clone's pidfd, its messages, the process's memory, map and
 * auxiliary vector, its executable.
 */

/*
 * What this process says of itself, as JSON, and the memory that is kept out of every core. Both
 * are copied. Return 0, or -1 with errno set.
 */
int service_set_facts(const char *json, size_t size);
int service_set_excluded(struct ranges excluded);

/*
 * Read a request that has arrived, and answer it. Returns the pidfd of a clone, for the caller to
 * reap and close, or -1.
 */
int service_answer(int connection);

/* Read a request that has arrived, and answer why nothing is done: in a word. */
void service_refuse(int connection, const char *word);

#endif
