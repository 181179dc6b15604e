/* SPDX-License-Identifier: Apache-2.0 */
/* What the Python face and the code after the fork agree on. */
#ifndef GENCORE_MACOS_SNAPSHOT_H
#define GENCORE_MACOS_SNAPSHOT_H

#include <stdint.h>

enum snapshot_step {
	STEP_PIPE,
	STEP_FORK,
	STEP_ENTER_DIRECTORY,
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

_Noreturn void after_fork_abort(int directory_fd, int status_fd);

#endif
