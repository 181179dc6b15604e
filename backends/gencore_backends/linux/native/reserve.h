/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that the agent keeps for the time when the process has no more of them. */
#ifndef GENCORE_RESERVE_H
#define GENCORE_RESERVE_H

/* Fill it up, as far as there are descriptors: with copies of *socket*, which is the agent's own. */
void reserve_take(int socket);

/* If the process has no descriptor left, close what is in the reserve. */
void reserve_lend(int socket);

/* Close what is in it. */
void reserve_give_back(int socket);

#endif
