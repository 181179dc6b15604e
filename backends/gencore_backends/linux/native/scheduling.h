/* SPDX-License-Identifier: Apache-2.0 */
/* Takes from clone and recorder what the service was given over others: its place at the processors. */
#ifndef GENCORE_SCHEDULING_H
#define GENCORE_SCHEDULING_H

/* How many are online. The C library reads a file for that, once. */
long online_processors(void);

/*
 * Runs in the child. Make it an ordinary process that may run on any processor; *cpus* is the
 * number of those that are online. What the system does not permit stays as it is.
 */
void clone_reset_scheduling(long cpus);

#endif
