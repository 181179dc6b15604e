/* SPDX-License-Identifier: Apache-2.0 */
/* Where an armed process can be reached: two sockets whose names say which process it is. */
#ifndef GENCORE_AGENT_ADDRESS_H
#define GENCORE_AGENT_ADDRESS_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

struct agent_address {
	struct sockaddr_un name;
	socklen_t size;
};

/*
 * "NAMESPACE/PID/START": the inode of the PID namespace, the pid in it, and the 22nd field of
 * proc(5), stat. A pid alone is taken again, and two containers that share a network share the
 * names of abstract sockets. Returns 0, or -1 with errno set.
 */
int agent_identity(char *ret, size_t size);

/* "gencore/IDENTITY" in the abstract namespace of unix(7): without a file system. */
void agent_abstract_address(const char *identity, struct agent_address *ret);

/* "DIRECTORY/NAMESPACE-PID-START.sock". Returns 0, or -1 if that is too long. */
int agent_path_address(const char *directory, const char *identity, struct agent_address *ret);

#endif
