// SPDX-License-Identifier: Apache-2.0
/*
 * The code that runs in the snapshot: a child made by a bare clone() of a process with threads.
 *
 * Contract of every function in this file, and of all whose name begins with clone_:
 *  - It makes system calls and nothing else. Another thread may have held any lock (malloc's, the
 *    GIL, the dynamic linker's) at the instant of the clone, and nobody is left here to release it.
 *  - It runs no line of Python and calls no C library function but syscall(), which is a bare trap
 *    that sets errno, getauxval() and the ones that only touch memory (memcpy, strlen, ...).
 *  - Its memory is a private copy of the parent's; its descriptors are the parent's open files.
 *    Nothing it does may be seen by the parent except what it writes to the status pipe.
 *  - It never returns. On success the kernel ends it with a core; on failure it sends
 *    (step, errno) and exits.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "comparison.h"
#include "elf_core.h"
#include "exclusion.h"
#include "kernel_abi.h"
#include "memory_map.h"
#include "notes.h"
#include "snapshot.h"

/* Runs in the child. */
static _Noreturn void end(int status)
{
	for (;;)
		syscall(SYS_exit_group, status);
}

/* Runs in the child. */
static _Noreturn void fail(int status_fd, enum snapshot_step step, int err)
{
	clone_tell_parent(status_fd, MESSAGE_FAILURE, step, (uint64_t)err);
	end(1);
}

/* Runs in the child. Kernels before 5.9 and some seccomp profiles lack close_range. */
static int close_one_by_one(unsigned int first, unsigned int last)
{
	struct rlimit limit;
	unsigned int highest;

	if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit))
		return -1;
	highest = limit.rlim_cur > INT_MAX ? INT_MAX : (unsigned int)limit.rlim_cur;
	for (unsigned int fd = first; fd <= last && fd < highest; fd++)
		syscall(SYS_close, fd);
	return 0;
}

/* Runs in the child. */
static int close_between(unsigned int first, unsigned int last)
{
	if (first > last || !syscall(SYS_close_range, first, last, 0))
		return 0;
	return close_one_by_one(first, last);
}

/* Runs in the child. A peer of the service must not see its sockets held open by the snapshot. */
static int close_all_but(int one, int other)
{
	int low = one < other ? one : other;
	int high = one < other ? other : one;

	if (low > 0 && close_between(0, (unsigned int)low - 1))
		return -1;
	if (close_between((unsigned int)low + 1, (unsigned int)high - 1))
		return -1;
	return close_between((unsigned int)high + 1, UINT_MAX);
}

/* Runs in the child. */
static int write_file(const char *path, const char *text, size_t length)
{
	long fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
	long written;

	if (fd < 0)
		return -1;
	written = syscall(SYS_write, (int)fd, text, length);
	syscall(SYS_close, (int)fd);
	return written == (long)length ? 0 : -1;
}

/* Runs in the child. The filter belongs to this copy of the address space only; see core(5). */
static int set_coredump_filter(unsigned int filter)
{
	static const char digits[] = "0123456789abcdef";
	char text[] = "0x00";

	text[2] = digits[filter >> 4 & 0xf];
	text[3] = digits[filter & 0xf];
	return write_file("/proc/self/coredump_filter", text, sizeof(text) - 1);
}

/* Runs in the child. The limits belong to this process only. */
static int raise_to_hard_limit(int resource)
{
	struct rlimit limit;

	if (syscall(SYS_prlimit64, 0, resource, NULL, &limit))
		return -1;
	limit.rlim_cur = limit.rlim_max;
	return (int)syscall(SYS_prlimit64, 0, resource, &limit, NULL);
}

/* Runs in the child. The application's own SIGSEGV handler must never run here. */
static int reset_signal(int signal)
{
	static const struct kernel_sigaction by_default; /* SIG_DFL is zero */

	return (int)syscall(SYS_rt_sigaction, signal, &by_default, NULL, sizeof(kernel_sigset));
}

/* Runs in the child. All other signals stay blocked: Ctrl-C goes to the whole process group. */
static int unblock_only(int signal)
{
	kernel_sigset blocked = ~((kernel_sigset)1 << (signal - 1));

	return (int)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, NULL, sizeof(blocked));
}

/* Runs in the child. */
static int raise_in_this_thread(int signal)
{
	return (int)syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), signal);
}

/* Runs in the child. The notes in a file of their own: the parent adds them to the kernel's core. */
static int write_notes(const struct notes *notes)
{
	long fd = syscall(SYS_openat, AT_FDCWD, "notes", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || clone_write_all((int)fd, notes->data, notes->size))
		return -1;
	return (int)syscall(SYS_close, (int)fd);
}

/* Runs in the child. Everything that the kernel needs to write a whole core of it. */
static _Noreturn void die_of_sigsegv(const struct image *image, const struct notes *notes)
{
	int status_fd = image->status_fd;

	if (write_notes(notes))
		fail(status_fd, STEP_WRITE_NOTES, errno);
	if (set_coredump_filter(image->order->coredump_filter))
		fail(status_fd, STEP_COREDUMP_FILTER, errno);
	if (raise_to_hard_limit(RLIMIT_CORE))
		fail(status_fd, STEP_CORE_LIMIT, errno);
	if (reset_signal(SIGSEGV))
		fail(status_fd, STEP_RESET_SIGNAL, errno);
	if (unblock_only(SIGSEGV))
		fail(status_fd, STEP_UNBLOCK_SIGNAL, errno);
	raise_in_this_thread(SIGSEGV);
	fail(status_fd, STEP_RAISE, errno);
}

/* Runs in the child. */
static _Noreturn void write_own_core(struct clone *clone, const struct notes *notes)
{
	struct step_failure failure;

	if (clone_write_core(clone, notes, &failure))
		fail(clone->image->status_fd, (enum snapshot_step)failure.step, failure.err);
	end(0);
}

/* Runs in the child. */
static void leave_the_service(const struct image *image)
{
	bool kernel_writes = image->order->kernel_writes;

	if (kernel_writes && syscall(SYS_fchdir, image->order->directory_fd))
		fail(image->status_fd, STEP_ENTER_DIRECTORY, errno);
	if (close_all_but(image->status_fd,
			  kernel_writes ? image->status_fd : image->order->core_fd))
		fail(image->status_fd, STEP_CLOSE_DESCRIPTORS, errno);
	/* Rather lose a message than wait for a parent that reads the core first. */
	syscall(SYS_fcntl, image->status_fd, F_SETFL, O_WRONLY | O_NONBLOCK);
	/* Under memory pressure the snapshot dies first. Failing to say so does no harm. */
	write_file("/proc/self/oom_score_adj", "1000", 4);
}

/*
 * Runs in the child. It does no work while its parent's pause lasts: on few processors it would
 * take the time of the threads that are being released. A second at most, so that a parent that
 * may not send signals gets its core too. SIGCONT is blocked like all others, and so only taken
 * here; see sigtimedwait(2).
 */
static void wait_for_the_end_of_the_pause(void)
{
	const kernel_sigset go = (kernel_sigset)1 << (SIGCONT - 1);
	const struct timespec second = {.tv_sec = 1};

	syscall(SYS_rt_sigtimedwait, &go, NULL, &second, sizeof(go));
}

/* Runs in the child, as its only path. */
_Noreturn void after_fork(const struct image *image)
{
	struct clone clone;
	struct notes notes;

	leave_the_service(image);
	wait_for_the_end_of_the_pause();
	if (raise_to_hard_limit(RLIMIT_FSIZE))
		fail(image->status_fd, STEP_FILE_SIZE_LIMIT, errno);
	if (clone_prepare(&clone, image))
		fail(image->status_fd, STEP_MEMORY, errno);
	clone_check_contexts(&clone);
	if (clone_read_map(&clone.map))
		fail(image->status_fd, STEP_READ_MAPS, errno);
	if (clone_exclude(&clone))
		fail(image->status_fd, STEP_EXCLUDE, errno);
	clone_compare_maps(&clone);
	if (clone_make_notes(&clone, &notes))
		fail(image->status_fd, STEP_MEMORY, errno);
	if (image->order->kernel_writes)
		die_of_sigsegv(image, &notes);
	write_own_core(&clone, &notes);
}
