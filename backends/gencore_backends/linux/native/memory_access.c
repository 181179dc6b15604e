// SPDX-License-Identifier: Apache-2.0
/*
 * Asks the kernel: through /proc/thread-self/mem, or by system calls that fail with EFAULT and have no
 * other effect, of which no seccomp profile refuses any: a program cannot do without them. All of
 * it is safe in a signal handler.
 */
#define _GNU_SOURCE
#include "memory_access.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WORD = 8, SMALLEST_PAGE = 4096 };

static struct {
	int fd;			/* /proc/thread-self/mem */
	_Atomic pid_t by;	/* the thread that may use it; 0 if it is not open */
} memory;

/*
 * No right is needed for one's own memory, but for the file: a process that may not be dumped has
 * none to its own (proc(5)). It is left with pages that are looked at first. Not /proc/self: the
 * main thread may have ended.
 */
int memory_open(void)
{
	memory.fd = open("/proc/thread-self/mem", O_RDONLY | O_CLOEXEC);
	if (memory.fd < 0)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -1 : 0;
	atomic_store(&memory.by, (pid_t)syscall(SYS_gettid));
	return 0;
}

void memory_close(void)
{
	if (atomic_exchange(&memory.by, 0))
		close(memory.fd);
}

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

	if (atomic_load(&memory.by) == (pid_t)syscall(SYS_gettid))
		return pread(memory.fd, ret, size, (off_t)address) == (ssize_t)size ? 0 : -1;

	for (uintptr_t at = address; at <= last; at = (at | (SMALLEST_PAGE - 1)) + 1)
		if (!memory_is_readable(at))
			return -1;
	memcpy(ret, (const void *)address, size);
	return 0;
}
