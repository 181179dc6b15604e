/* SPDX-License-Identifier: Apache-2.0 */
/* What triggers look at: each answers a number to compare with a threshold, and says what it is. */
#ifndef GENCORE_CONDITIONS_H
#define GENCORE_CONDITIONS_H

#include <stdint.h>

#include "text.h"
#include "triggers.h"

/* What is common to all conditions of one look. */
struct look {
	uint64_t elapsed_ns; /* since the last one, as far as this process ran meanwhile */
	uint64_t cpu;	     /* thousandths of one CPU that it has used meanwhile */
	const struct cgroup_files *files;
};

/* The first look after conditions_reset() has nothing to compare with. */
void conditions_reset(void);
void conditions_begin(struct look *look, const struct cgroup_files *files);

/*
 * Measure in the unit of the threshold, and add to *seen* what that was. 0 where it is unknown, and
 * for those that are asked for.
 */
uint64_t condition_measure(enum trigger_kind kind, const struct look *look, struct text *seen);

#endif
