/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory the cgroups of this process leave it. Needs no GIL, no lock and no malloc. */
#ifndef GENCORE_CGROUP_MEMORY_H
#define GENCORE_CGROUP_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Files of a memory cgroup: empty where it has no limit. */
struct cgroup_files {
	char usage[512];
	char limit[512];
	char statistics[512];
	const char *inactive; /* the row of the statistics that can be reclaimed at once */
};

/* In bytes, without what the kernel could drop at once. Returns false without a limit. */
bool cgroup_read(const struct cgroup_files *files, uint64_t *used, uint64_t *limit);

/*
 * The bytes that are left in the one of them that has least: of those that it is in now, as far as it
 * sees them itself. UINT64_MAX without a limit.
 */
uint64_t cgroup_room(void);

#endif
