/* SPDX-License-Identifier: Apache-2.0 */
/* What the parent has mapped and a clone does not get. */
#ifndef GENCORE_COMPARISON_H
#define GENCORE_COMPARISON_H

#include "memory_map.h"

/*
 * These run in the clone.
 *
 * Whether it has got all that was mapped: what is not inherited is subtracted from a clone's size,
 * see dup_mmap() in mm/mmap.c. To be asked before it maps anything itself.
 */
bool clone_has_all(const struct image *image);

/*
 * Report memory that the core should have and does not: MADV_DONTFORK memory is missing in the
 * clone, unless it *has_all*, and MADV_WIPEONFORK memory is zeros.
 */
void clone_compare_maps(const struct clone *clone, bool has_all);

#endif
