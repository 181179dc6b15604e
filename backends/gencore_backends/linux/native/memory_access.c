// SPDX-License-Identifier: Apache-2.0
/*
 * Asks the kernel, by system calls that fail with EFAULT and have no other effect. They are ones
 * that no seccomp profile refuses: a program cannot do without them. Safe in a signal handler.
 */
#define _GNU_SOURCE
#include "memory_access.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WORD = 8 };

/* The kernel copies the set before it looks at the first argument, which no version knows. */
bool memory_is_readable(uintptr_t address)
{
	return syscall(SYS_rt_sigprocmask, INT_MAX, address & ~(uintptr_t)7, NULL, WORD) == 0 ||
	       errno == EINVAL;
}

/* FUTEX_WAKE_OP adds 0 to the word, after it has found nobody to wake; see futex(2). */
bool memory_is_writable(uintptr_t address)
{
	static uint32_t nobody;
	const int add_nothing = FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_LT, 0);

	return syscall(SYS_futex, &nobody, FUTEX_WAKE_OP_PRIVATE, 0, NULL,
		       address & ~(uintptr_t)7, add_nothing) >= 0;
}

int memory_read(uintptr_t address, void *ret, size_t size)
{
	uintptr_t last = address + size - 1;

	for (uintptr_t at = address & ~(uintptr_t)7; at <= last; at += WORD)
		if (!memory_is_readable(at))
			return -1;
	memcpy(ret, (const void *)address, size);
	return 0;
}
