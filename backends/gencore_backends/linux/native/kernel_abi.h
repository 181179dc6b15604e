/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel interfaces that older C libraries do not declare, with the kernel's own layout. */
#ifndef GENCORE_KERNEL_ABI_H
#define GENCORE_KERNEL_ABI_H

#include <linux/fs.h>
#include <stdint.h>
#include <sys/ioctl.h>
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

#ifndef SYS_pkey_mprotect
#if defined(__x86_64__)
#define SYS_pkey_mprotect 329 /* Linux 4.9 */
#else
#define SYS_pkey_mprotect 288
#endif
#endif

#ifndef PAGEMAP_SCAN /* include/uapi/linux/fs.h, Linux 6.7 */
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)

#define PAGE_IS_FILE (1ull << 2)
#define PAGE_IS_PRESENT (1ull << 3)
#define PAGE_IS_SWAPPED (1ull << 4)

/* The pages between two addresses, all of the same categories. */
struct page_region {
	uint64_t start;
	uint64_t end;
	uint64_t categories;
};

struct pm_scan_arg {
	uint64_t size;
	uint64_t flags;
	uint64_t start;
	uint64_t end;
	uint64_t walk_end;
	uint64_t vec;
	uint64_t vec_len;
	uint64_t max_pages;
	uint64_t category_inverted;
	uint64_t category_mask;
	uint64_t category_anyof_mask;
	uint64_t return_mask;
};
#endif

#ifndef PAGE_IS_GUARD
#define PAGE_IS_GUARD (1ull << 8) /* Linux 6.16 */
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
