/* SPDX-License-Identifier: Apache-2.0 */
/* Reaches what listens in another network: names of abstract sockets are a network's own. */
#ifndef GENCORE_NETWORK_H
#define GENCORE_NETWORK_H

/*
 * Make a socket for connections of packets in the network of an open namespace, see
 * network_namespaces(7). The calling thread stays in its own. Returns the socket, or -1 with errno
 * set: EPERM without CAP_SYS_ADMIN here and there.
 */
int socket_in_network(int network);

#endif
