/* SPDX-License-Identifier: Apache-2.0 */
/* Sends and receives packets with descriptors over local sockets. */
#ifndef GENCORE_PACKETS_H
#define GENCORE_PACKETS_H

#include <stddef.h>
#include <sys/types.h>

enum {
	LONGEST_PACKET = 32 * 1024, /* as in channel.py */
	PACKET_DESCRIPTORS = 16,    /* at most, in one packet */
};

/*
 * Send a message with descriptors: in a packet, or if it is long in a file in memory, the last one of
 * them. Returns 0, or -1 with errno set.
 */
int message_send(int socket, const char *data, size_t size, const int *fds, size_t count);

/* What says that a recorder was started, with its pidfd, or with an errno in decimal behind it. */
#define STARTED_PACKET "p"

/*
 * Returns the bytes that were sent, or -1 with errno set; it never raises SIGPIPE. A system call and
 * nothing else: the clone sends too.
 */
ssize_t packet_send(int socket, const char *data, size_t size, const int *fds, size_t count);

/*
 * Receive one that has arrived, without waiting; *fds has room for PACKET_DESCRIPTORS, which are the
 * caller's to close. Returns its bytes, 0 at the end, or -1 with errno set: EAGAIN if there is none.
 */
ssize_t packet_take(int socket, char *data, size_t size, int *fds, size_t *count);

#endif
