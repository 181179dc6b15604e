/* SPDX-License-Identifier: Apache-2.0 */
/* The words for steps, modes, contents and reasons, as users and the other end of a socket see them. */
#ifndef GENCORE_NAMES_H
#define GENCORE_NAMES_H

#include "snapshot.h"
#include "steps.h"

/* A row of the table in steps.h. */
struct step {
	const char *name, *where, *failed;
};

extern const struct step steps[STEP_COUNT];
extern const char *const mode_names[THREADS_MODES];
extern const char *const content_names[CONTENTS];

/* Why a thread's registers are not exact, in a sentence; NULL for REASON_NONE. */
extern const char *const reason_texts[REASON_COUNT];

/* Returns the index of a name, or -1. */
int find_name(const char *const *names, int count, const char *name);

#endif
