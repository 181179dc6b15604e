/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel interfaces that older C libraries do not declare, with the kernel's own layout. */
#ifndef GENCORE_KERNEL_ABI_H
#define GENCORE_KERNEL_ABI_H

#include <stdint.h>
#include <sys/syscall.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000 /* include/uapi/linux/sched.h, Linux 5.2 */
#endif

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* the same on every architecture, Linux 5.3 */
#endif

#ifndef SYS_close_range
#define SYS_close_range 436 /* the same on every architecture, Linux 5.9 */
#endif

/* The kernel's sigset_t: 64 signals, not the C library's 1024. */
typedef uint64_t kernel_sigset;

/*
 * struct kernel_sigaction of include/linux/signal_types.h. Only used to set SIG_DFL, so that the
 * order of the fields behind the handler, which differs between architectures, does not matter:
 * all of them are zero.
 */
struct kernel_sigaction {
	void *handler;
	unsigned long rest[3];
};

#endif
