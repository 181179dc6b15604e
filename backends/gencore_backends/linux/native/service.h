/* SPDX-License-Identifier: Apache-2.0 */
/* Answers requests for captures that other processes send over a socket. Needs no GIL. */
#ifndef GENCORE_SERVICE_H
#define GENCORE_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "huge_pages.h"
#include "snapshot.h"

/*
 * A request is one packet, with two descriptors where a capture is asked for: what the core is
 * written to, and a pidfd of the process that reads it. Names are those of DumpRequest.
 */
struct capture_request {
	char magic[8]; /* "gencore" */
	uint32_t version;
	uint32_t timeout_ms; /* for stopping threads */
	char action[16];     /* "describe", "capture", "names" of threads, "file", or "collapse" */
	union {
		struct {
			char content[16];
			char threads[16];
		};
		struct {
			uint64_t start;	 /* of a mapping of the file */
			uint64_t offset; /* of the part, in the file: a multiple of the page size */
		} file;
		struct collapse_limits collapse; /* of the process's memory into huge pages */
	};
	uint32_t with_dontdump;
	uint32_t allow_undumpable;
};

/*
 * The answer is JSON in packets, until the end of the connection. With the first packet come the
 * descriptors that the answer lists. Of a capture: the clone's pidfd, its messages, its smaps, the
 * process's memory, map and auxiliary vector, its executable. Of a description: files of the process in
 * /proc, for who does not see it there.
 *
 * A part of a file follows the JSON, which is then one packet. Bytes and no descriptor: one that
 * was opened for reading can be opened anew for writing, by who may write to the file.
 */

/*
 * What this process says of itself, as JSON, and the memory that is kept out of every core. Both
 * are copied. Return 0, or -1 with errno set.
 */
int service_set_facts(const char *json, size_t size);
int service_set_excluded(struct ranges excluded);

/*
 * Read a request that has arrived, and answer it. What takes long asks every few milliseconds whether
 * the thread is needed, and is then given up. Returns the pidfd of a clone, for the caller to reap and close, or -1.
 */
int service_answer(int connection, bool (*is_needed)(void));

/* Read a request that has arrived, and answer why nothing is done: in a word. */
void service_refuse(int connection, const char *word);

/* What a process says of itself, as JSON. */
struct order_facts {
	const char *json;
	size_t size;
};

/* A capture that nobody knows of yet: the clone waits a second to be let begin. */
struct handover {
	struct snapshot snapshot;
	int core;	/* the end of a pipe from which the core is read */
	uint64_t began; /* the time of CLOCK_MONOTONIC before the pause */
};

/*
 * Capture this process for a recorder. Called with the turn, as long as the thread table of *ret is
 * looked at. Returns 0, or -1 with *failure filled in. The clone's two descriptors are the caller's
 * to close.
 */
int service_take(struct snapshot_order *order, struct handover *ret, struct step_failure *failure);

/*
 * Send the recorder at the other end of a channel what leads to the capture, and let the clone
 * begin. The message is JSON as above, with the facts and "began_ns". Closes the pipe. Returns 0, or
 * -1 with *failure filled in and the clone killed.
 */
int service_hand_over(int channel, const struct snapshot_order *order, const struct order_facts *facts,
		      const struct handover *handover, struct step_failure *failure);

/* Kill a clone of this process if it still runs, reap it unless other code has, and close both. */
void service_end_clone(int pidfd, int status_fd);

#endif
