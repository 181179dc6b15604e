// SPDX-License-Identifier: Apache-2.0
/* See sendmsg(2), and SCM_RIGHTS in unix(7). */
#define _GNU_SOURCE
#include "packets.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(PACKET_DESCRIPTORS * sizeof(int))];
};

ssize_t packet_send(int socket, const char *data, size_t size, const int *fds, size_t count)
{
	union control control;
	struct iovec part = {(void *)(uintptr_t)data, size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (count > PACKET_DESCRIPTORS) {
		errno = EMSGSIZE;
		return -1;
	}
	if (count) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		*CMSG_FIRSTHDR(&message) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(count * sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), fds, count * sizeof(int));
	}
	return syscall(SYS_sendmsg, socket, &message, MSG_NOSIGNAL);
}

ssize_t packet_take(int socket, char *data, size_t size, int *fds, size_t *count)
{
	union control control;
	struct iovec part = {data, size};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	const struct cmsghdr *header;
	ssize_t taken;

	*count = 0;
	do
		taken = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (taken < 0 && errno == EINTR);
	header = taken < 0 ? NULL : CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
		*count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(header), *count * sizeof(int));
	}
	return taken;
}
