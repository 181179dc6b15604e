/* SPDX-License-Identifier: Apache-2.0 */
/* What the Python face and the code after the fork agree on. */
#ifndef GENCORE_MACOS_SNAPSHOT_H
#define GENCORE_MACOS_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

enum snapshot_step {
	STEP_PIPE,
	STEP_FORK,
	STEP_ENTER_DIRECTORY,
	STEP_WIPE,
	STEP_CORE_LIMIT,
	STEP_RESET_SIGNAL,
	STEP_UNBLOCK_SIGNAL,
	STEP_RAISE,
	STEP_COUNT,
};

struct step_failure {
	int32_t step;
	int32_t err;
};

struct range {
	uintptr_t start;
	uintptr_t end;
};

struct ranges {
	const struct range *rows;
	size_t count;
};

struct snapshot_order {
	int directory_fd;
	int status_fd;
	struct ranges excluded; /* wiped in the child before anything is written */
};

_Noreturn void after_fork_abort(const struct snapshot_order *order);

#endif
