// SPDX-License-Identifier: Apache-2.0
/* Runs in the clone; the contract of after_fork.c holds for every function here. */
#define _GNU_SOURCE
#include "status.h"

#include <sys/syscall.h>
#include <unistd.h>

/*
 * A pipe has room for 4,096 bytes, or 170 messages, even where a user's pipes are all used up
 * (pipe(7), pipe-user-pages-soft): the writing end does not block, and nothing may be lost.
 */
enum { MAX_NAMED = 20 };

void clone_tell_parent(int status_fd, enum message_kind kind, uint64_t first, uint64_t second)
{
	struct snapshot_message message = {kind, first, second};

	syscall(SYS_write, status_fd, &message, sizeof(message));
}

static void clone_end_loss(struct losses *losses)
{
	if (!losses->size)
		return;
	if (losses->named < MAX_NAMED) {
		losses->named++;
		clone_tell_parent(losses->status_fd, MESSAGE_UNREADABLE, losses->start,
				  losses->size);
	} else {
		losses->others++;
		losses->others_size += losses->size;
	}
	losses->size = 0;
}

void clone_add_loss(struct losses *losses, uintptr_t start, size_t size)
{
	if (losses->start + losses->size != start) {
		clone_end_loss(losses);
		losses->start = start;
	}
	losses->size += size;
}

void clone_report_losses(struct losses *losses)
{
	clone_end_loss(losses);
	if (losses->others)
		clone_tell_parent(losses->status_fd, MESSAGE_MORE_UNREADABLE, losses->others,
				  losses->others_size);
	losses->others = losses->others_size = 0;
}
