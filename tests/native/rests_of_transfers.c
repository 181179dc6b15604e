// SPDX-License-Identifier: Apache-2.0
/*
 * What is asked for of the rest of a transfer that was cut short, on descriptors that would wait for
 * ever, lose data, or lose an error: rests_of_transfers prints one line of JSON for each. The rest is
 * asked for here as the handler does it, after a part of 10 bytes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "calls.h"
#include "transfers.h"

enum { PART = 10, MORE = 100 };

static char block[1 << 20];

static void require(int result)
{
	if (result < 0)
		abort();
}

static long complete(long number, unsigned long fd, void *data, unsigned long third,
		     unsigned long fourth)
{
	static const _Atomic uint32_t ours;
	const unsigned long args[CALL_ARGUMENTS] = {fd, (unsigned long)data, third, fourth};

	return transfer_complete(blocking_call_find(number), args, PART, &ours);
}

static int full_pipe(void)
{
	int fds[2];

	require(pipe2(fds, O_NONBLOCK));
	while (write(fds[1], block, sizeof(block)) > 0)
		;
	return fds[1];
}

static int full_socket(void)
{
	int fds[2];

	require(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	while (send(fds[0], block, 1024, MSG_DONTWAIT) > 0)
		;
	return fds[0];
}

static int socket_with_more(void)
{
	int fds[2];

	require(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	require((int)write(fds[1], block, MORE));
	return fds[0];
}

/* A connection that its peer has reset. */
static int reset_socket(void)
{
	const struct linger at_once = {.l_onoff = 1};
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int server = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0), peer;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	require(bind(server, (void *)&address, size));
	require(listen(server, 1));
	require(getsockname(server, (void *)&address, &size));
	require(connect(fd, (void *)&address, size));
	peer = accept(server, NULL, NULL);
	require(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
	require(close(peer));
	return fd;
}

static long receive_message(int fd, void *control, size_t size)
{
	struct iovec piece = {block, PART + MORE};
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control,
				 .msg_controllen = size};

	return complete(SYS_recvmsg, (unsigned long)fd, &message, MSG_WAITALL, 0);
}

static void print(const char *name, long moved)
{
	printf("{\"rest\": \"%s\", \"moved\": %ld}\n", name, moved);
	fflush(stdout);
}

int main(void)
{
	char control[64];
	int reset = reset_socket();
	unsigned long size = PART + MORE;

	alarm(30); /* what waits, waits for ever */
	print("no room, O_NONBLOCK",
	      complete(SYS_write, (unsigned long)full_pipe(), block, size, 0));
	print("no room, MSG_DONTWAIT",
	      complete(SYS_sendto, (unsigned long)full_socket(), block, size, MSG_DONTWAIT));
	print("more data", receive_message(socket_with_more(), NULL, 0));
	print("more data, perhaps with descriptors",
	      receive_message(socket_with_more(), control, sizeof(control)));
	print("an error", complete(SYS_recvfrom, (unsigned long)reset, block, size, MSG_WAITALL));
	print("the call after it", recv(reset, block, 1, 0) < 0 ? -errno : 0);
	return 0;
}
