// SPDX-License-Identifier: Apache-2.0
/* See sendmsg(2), and SCM_RIGHTS in unix(7). */
#define _GNU_SOURCE
#include "packets.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
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

#define LONG_MESSAGE "" /* a packet of one zero byte: what it says is in a file, see channel.py */

/* Returns 0, or -1 with errno set. */
static int write_all(int file, const char *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t part = write(file, data + done, size - done);

		if (part < 0)
			return -1;
		done += (size_t)part;
	}
	return 0;
}

static int send_as_file(int socket, const char *data, size_t size, const int *fds, size_t count)
{
	int file = (int)syscall(SYS_memfd_create, "gencore-message", MFD_CLOEXEC);
	int all[PACKET_DESCRIPTORS];
	int result = -1, err;

	for (size_t i = 0; i < count; i++)
		all[i] = fds[i];
	all[count] = file;
	if (file >= 0 && !write_all(file, data, size) &&
	    packet_send(socket, LONG_MESSAGE, 1, all, count + 1) == 1)
		result = 0;
	err = errno;
	if (file >= 0)
		close(file);
	errno = err;
	return result;
}

int message_send(int socket, const char *data, size_t size, const int *fds, size_t count)
{
	if (size > LONGEST_PACKET && count < PACKET_DESCRIPTORS)
		return send_as_file(socket, data, size, fds, count);
	return packet_send(socket, data, size, fds, count) == (ssize_t)size ? 0 : -1;
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
