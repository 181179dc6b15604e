/* SPDX-License-Identifier: Apache-2.0 */
/* What triggers look at: each answers whether it is above its threshold, and what it has seen. */
#ifndef GENCORE_CONDITIONS_H
#define GENCORE_CONDITIONS_H

#include <stdbool.h>
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

/* Add to *seen* what is the case if it is. Never for those that are asked for. */
bool condition_is_met(enum trigger_kind kind, uint64_t above, const struct look *look,
		      struct text *seen);

#endif
