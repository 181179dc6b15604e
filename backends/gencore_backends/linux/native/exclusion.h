/* SPDX-License-Identifier: Apache-2.0 */
/* Takes what no core may show out of the clone's memory; the parent's stays as it is. */
#ifndef GENCORE_EXCLUSION_H
#define GENCORE_EXCLUSION_H

#include "memory_map.h"

/*
 * Runs in the clone. Overwrite what the order excludes, wherever the same object is mapped, and
 * arguments and environment where the content is to be without. Reads the map, again if it has
 * changed that. Returns 0, or -1 with errno set: something is still there.
 */
int clone_exclude(struct clone *clone);

#endif
