/* SPDX-License-Identifier: Apache-2.0 */
/* Takes from the clone what the service was given over others: its place at the processors. */
#ifndef GENCORE_SCHEDULING_H
#define GENCORE_SCHEDULING_H

/*
 * Runs in the child. Make it an ordinary process that may run on any processor; *cpus* is the
 * number of those that are online. What the system does not permit stays as it is.
 */
void clone_reset_scheduling(long cpus);

#endif
