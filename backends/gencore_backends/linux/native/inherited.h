/* SPDX-License-Identifier: Apache-2.0 */
/* What a program has of the thread that starts it, beside descriptors: see execve(2). */
#ifndef GENCORE_INHERITED_H
#define GENCORE_INHERITED_H

#include <stdbool.h>

#include "text.h"

/*
 * Its user, rights, directories, namespaces, cgroups and environment. Two texts that are alike mean two
 * threads whose programs have the same of them. What cannot be read is missing in both.
 */
void inherited_add(struct text *text);

/*
 * Whether this thread may look at a process, see ptrace(2): not if Landlock holds this thread, and not
 * that process. Nothing else says so.
 */
bool may_look_at(int pidfd);

#endif
