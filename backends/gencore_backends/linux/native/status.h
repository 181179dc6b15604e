/* SPDX-License-Identifier: Apache-2.0 */
/* What the clone reports to its parent: few messages, so that the pipe always has room for all. */
#ifndef GENCORE_STATUS_H
#define GENCORE_STATUS_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot.h"

/* Memory that could not be read: the first ranges are named, the others summed up. */
struct losses {
	int status_fd;
	uint64_t start; /* the last range, which may still grow */
	uint64_t size;
	uint64_t named;
	uint64_t others;
	uint64_t others_size;
};

/* All of this runs in the clone. */

/* Send a message to the parent. */
void clone_tell_parent(int status_fd, enum message_kind kind, uint64_t first, uint64_t second);

/* Ranges are added in order of address within a mapping; neighbours become one. */
void clone_add_loss(struct losses *losses, uintptr_t start, size_t size);

/* Report what has not been reported yet. */
void clone_report_losses(struct losses *losses);

#endif
