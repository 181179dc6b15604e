// SPDX-License-Identifier: Apache-2.0
/* A socket stays in the network of the thread that has made it: one enters, and ends. */
#define _GNU_SOURCE
#include "network.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>

struct visit {
	int network;
	int fd;
	int err;
};

static void *make_socket_there(void *argument)
{
	struct visit *visit = argument;

	visit->fd = setns(visit->network, CLONE_NEWNET);
	if (!visit->fd)
		visit->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	visit->err = errno;
	return NULL;
}

int socket_in_network(int network)
{
	struct visit visit = {.network = network};
	pthread_t thread;

	errno = pthread_create(&thread, NULL, make_socket_there, &visit);
	if (errno)
		return -1;
	pthread_join(thread, NULL);
	errno = visit.err;
	return visit.fd;
}
