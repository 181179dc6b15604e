/* SPDX-License-Identifier: Apache-2.0 */
/* What the parent has mapped and a clone does not get. */
#ifndef GENCORE_COMPARISON_H
#define GENCORE_COMPARISON_H

#include "memory_map.h"

/*
 * Runs in the clone. Report memory that the core should have and does not: MADV_DONTFORK memory
 * is missing in the clone, MADV_WIPEONFORK memory is zeros.
 */
void clone_compare_maps(const struct clone *clone);

#endif
