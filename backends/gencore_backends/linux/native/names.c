// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "names.h"

#include <string.h>

#define STEP_ROW(constant, name, where, failed) {name, where, failed},
const struct step steps[STEP_COUNT] = {STEPS(STEP_ROW)};
#undef STEP_ROW

const char *const mode_names[THREADS_MODES] = {
	[THREADS_CALLER] = "caller",
	[THREADS_AUTO] = "auto",
	[THREADS_SIGNAL] = "signal",
};

const char *const content_names[CONTENTS] = {
	[CONTENT_FULL] = "full",
	[CONTENT_PRIVATE] = "private",
	[CONTENT_STACKS] = "stacks",
	[CONTENT_TRIAGE] = "triage",
};

const char *const reason_texts[REASON_COUNT] = {
	[REASON_NOT_ASKED] = "only the calling thread was requested",
	[REASON_BLOCKS_SIGNALS] = "it blocks or waits for signals, so it was read, not stopped",
	[REASON_REMAINING_TIME] = "its system call cannot be resumed exactly, so it was read, not "
				  "stopped",
	[REASON_TRANSFER] = "its system call would return with a part of its data, so it was read, "
			    "not stopped",
	[REASON_HANDLER_BLOCKS] = "a signal handler of the application blocks other signals, so it was "
				  "read, not stopped",
	[REASON_UNINTERRUPTIBLE] = "it is in uninterruptible sleep, or exiting",
	[REASON_STACK_FULL] = "its stack has no room for a signal frame, so it was read, not stopped",
	[REASON_QUEUE_FULL] = "no signal could be queued for it (RLIMIT_SIGPENDING, or seccomp)",
	[REASON_NO_ANSWER] = "it did not stop in time",
	[REASON_RAN] = "it could only be read, and has run since",
	[REASON_NOT_LOOKED_AT] = "its state in /proc could not be read (no free descriptor?)",
	[REASON_LEFT_EARLY] = "the clone took longer than the thread could wait",
};

int find_name(const char *const *names, int count, const char *name)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(names[i], name))
			return i;
	return -1;
}
