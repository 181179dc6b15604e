// SPDX-License-Identifier: Apache-2.0
/*
 * The life of the snapshot: a child made by a bare clone() of a process with threads.
 *
 * The rule: a function whose name begins with clone_ runs in that child. This is the contract of
 * every such function, and of the files that say so at their top:
 *  - It makes system calls and nothing else. Another thread may have held any lock (malloc's, the
 *    GIL, the dynamic linker's) at the instant of the clone, and nobody is left here to release it.
 *  - It runs no line of Python and calls no C library function but syscall(), which is a bare trap
 *    that sets errno, getauxval() and the ones that only touch memory (memcpy, strlen, ...).
 *  - Its memory is a private copy of the parent's; its descriptors are the parent's open files.
 *    Nothing it does may be seen by the parent except what it writes to the status pipe.
 *  - It looks at the image's memory only through system calls, which return EFAULT where a load
 *    would end the child.
 *  - It never returns. On success it sends that it is done, or the kernel ends it with a core; on
 *    failure it sends (step, errno) and exits.
 *  - It waits for nobody longer than its reader lives, see lifeline.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "comparison.h"
#include "descriptors.h"
#include "elf_core.h"
#include "exclusion.h"
#include "kernel_abi.h"
#include "lifeline.h"
#include "memory_map.h"
#include "notes.h"
#include "packets.h"
#include "proc_text.h"
#include "python_stacks.h"
#include "scheduling.h"
#include "snapshot.h"
#include "spawn.h"

static _Noreturn void clone_end(int status)
{
	for (;;)
		syscall(SYS_exit_group, status);
}

/*
 * The last message must arrive: by it the parent knows that nothing else will come. The parent
 * may be reading the core to its end before it reads messages, so the core is closed first.
 */
static void clone_send_last(const struct image *image, enum message_kind kind, uint64_t first,
			    uint64_t second)
{
	struct snapshot_message message = {kind, first, second};

	if (!image->order->kernel_writes)
		syscall(SYS_close, image->order->core_fd);
	clone_write_all(image->status_fd, &message, sizeof(message));
}

static _Noreturn void clone_fail(const struct image *image, enum snapshot_step step)
{
	clone_send_last(image, MESSAGE_FAILURE, step, (uint64_t)errno);
	clone_end(1);
}

/* Note where the clone is, for the parent to know it if a signal ends the clone there. */
static void clone_begin(const struct image *image, enum snapshot_step step)
{
	clone_tell_parent(image->status_fd, MESSAGE_STEP, step, 0);
}

static int clone_write_file(const char *path, const char *text, size_t length)
{
	long fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
	long written;

	if (fd < 0)
		return -1;
	written = syscall(SYS_write, (int)fd, text, length);
	syscall(SYS_close, (int)fd);
	return written == (long)length ? 0 : -1;
}

/* The filter belongs to this copy of the address space only; see core(5). */
static int clone_set_coredump_filter(unsigned int filter)
{
	static const char digits[] = "0123456789abcdef";
	char text[] = "0x00";

	text[2] = digits[filter >> 4 & 0xf];
	text[3] = digits[filter & 0xf];
	return clone_write_file("/proc/self/coredump_filter", text, sizeof(text) - 1);
}

/* The limits belong to this process only. */
static int clone_raise_to_hard_limit(int resource)
{
	struct rlimit limit;

	if (syscall(SYS_prlimit64, 0, resource, NULL, &limit))
		return -1;
	limit.rlim_cur = limit.rlim_max;
	return (int)syscall(SYS_prlimit64, 0, resource, &limit, NULL);
}

/* The application's own SIGSEGV handler must never run here. */
static int clone_reset_signal(int signal)
{
	static const struct kernel_sigaction by_default; /* SIG_DFL is zero */

	return (int)syscall(SYS_rt_sigaction, signal, &by_default, NULL, sizeof(kernel_sigset));
}

/* All other signals stay blocked: Ctrl-C goes to the whole process group. */
static int clone_unblock_only(int signal)
{
	kernel_sigset blocked = ~((kernel_sigset)1 << (signal - 1));

	return (int)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, NULL, sizeof(blocked));
}

static int clone_raise(int signal)
{
	return (int)syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), signal);
}

/* The notes in a file of their own: the parent adds them to the kernel's core. */
static int clone_write_notes(const struct notes *notes)
{
	long fd = syscall(SYS_openat, AT_FDCWD, "notes", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || clone_write_all((int)fd, notes->data, notes->size))
		return -1;
	return (int)syscall(SYS_close, (int)fd);
}

/* Everything that the kernel needs to write a whole core of it. */
static _Noreturn void clone_die_of_sigsegv(const struct image *image, const struct notes *notes)
{
	clone_begin(image, STEP_WRITE_NOTES);
	if (clone_write_notes(notes))
		clone_fail(image, STEP_WRITE_NOTES);
	if (clone_set_coredump_filter(image->order->coredump_filter))
		clone_fail(image, STEP_COREDUMP_FILTER);
	if (clone_raise_to_hard_limit(RLIMIT_CORE))
		clone_fail(image, STEP_CORE_LIMIT);
	if (clone_reset_signal(SIGSEGV))
		clone_fail(image, STEP_RESET_SIGNAL);
	if (clone_unblock_only(SIGSEGV))
		clone_fail(image, STEP_UNBLOCK_SIGNAL);
	if (clone_check_reader()) /* the last chance: nothing ends the kernel's writing */
		clone_fail(image, STEP_READER_ENDED);
	clone_begin(image, STEP_RAISE);
	clone_raise(SIGSEGV);
	clone_fail(image, STEP_RAISE);
}

static _Noreturn void clone_write_own_core(struct clone *clone, const struct notes *notes)
{
	struct step_failure failure;

	clone_begin(clone->image, STEP_WRITE_CORE);
	if (clone_write_core(clone, notes, &failure)) {
		errno = failure.err;
		clone_fail(clone->image, (enum snapshot_step)failure.step);
	}
	clone_send_last(clone->image, MESSAGE_DONE, 0, 0);
	clone_end(0);
}

/*
 * A clone that a signal ends is no crash of the service: neither a file in its directory nor a
 * program behind a pipe gets its memory. 1 is what stops both; see do_coredump() in fs/coredump.c.
 */
static void clone_prevent_kernel_core(void)
{
	struct rlimit limit;

	if (syscall(SYS_prlimit64, 0, RLIMIT_CORE, NULL, &limit))
		return;
	limit.rlim_cur = limit.rlim_max < 1 ? limit.rlim_max : 1;
	syscall(SYS_prlimit64, 0, RLIMIT_CORE, &limit, NULL);
}

/*
 * A session of its own, which is scheduled apart from the service. It is in a process group of its
 * own already, see instant.c: what is sent to the service's, SIGKILL above all, ends the service,
 * and the clone then ends when its reader has. But no leader of a group may begin a session, so it
 * returns for a moment. The rest is ordinary: no place at the processors that the service was given,
 * and the first to be killed when memory runs out. What the system does not permit stays as it is.
 */
static void clone_become_ordinary(const struct image *image)
{
	syscall(SYS_setpgid, 0, image->pgrp);
	syscall(SYS_setsid);
	clone_reset_scheduling(image->cpus);
	clone_write_file("/proc/self/oom_score_adj", "1000", 4);
}

/* A peer of the service must not see its sockets held open by the snapshot. */
static int clone_close_descriptors(const struct image *image)
{
	const struct snapshot_order *order = image->order;
	int kept[] = {image->status_fd, image->reader, order->kernel_writes ? -1 : order->core_fd,
		      order->recorder ? order->recorder->input : -1};

	return clone_close_all_but(kept, sizeof(kept) / sizeof(*kept));
}

/*
 * Neither a message nor the core may wait for a reader that has ended; and rather lose a message
 * than wait for a parent that reads the core first. Both are open for writing in the clone only.
 */
static void clone_write_without_waiting(const struct image *image)
{
	syscall(SYS_fcntl, image->status_fd, F_SETFL, O_WRONLY | O_NONBLOCK);
	if (!image->order->kernel_writes)
		syscall(SYS_fcntl, image->order->core_fd, F_SETFL, O_WRONLY | O_NONBLOCK);
}

static void clone_leave_service(const struct image *image)
{
	const struct snapshot_order *order = image->order;

	if (!order->kernel_writes)
		clone_prevent_kernel_core();
	clone_watch_reader(image->reader, image->pid);
	clone_write_without_waiting(image);
	clone_begin(image, STEP_LEAVE_SERVICE);
	/* First, because the files of /proc/self belong to root until then. */
	if (order->allow_undumpable && syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0))
		clone_fail(image, STEP_MAKE_DUMPABLE);
	clone_become_ordinary(image);
	if (order->kernel_writes && syscall(SYS_fchdir, order->directory_fd))
		clone_fail(image, STEP_ENTER_DIRECTORY);
	clone_begin(image, STEP_CLOSE_DESCRIPTORS);
	if (clone_close_descriptors(image))
		clone_fail(image, STEP_CLOSE_DESCRIPTORS);
}

/*
 * It does no work while its parent's pause lasts: on few processors it would take the time of the
 * threads that are being released. A second at most, so that a parent that may not send signals
 * gets its core too. SIGCONT is blocked like all others, and so only taken here; see
 * sigtimedwait(2).
 */
static void clone_await_release(const struct image *image)
{
	const kernel_sigset go = (kernel_sigset)1 << (SIGCONT - 1);
	const struct timespec second = {.tv_sec = 1};

	clone_begin(image, STEP_AWAIT_RELEASE);
	syscall(SYS_rt_sigtimedwait, &go, NULL, &second, sizeof(go));
}

/* In the packet that channel.py knows: the pidfd, or else why there is none. */
static void clone_tell_started(int channel, int pidfd)
{
	char packet[16];
	char *end = append_text(packet, STARTED_PACKET);

	if (pidfd < 0)
		end = append_decimal(end, (uint64_t)errno);
	packet_send(channel, packet, (size_t)(end - packet), &pidfd, pidfd >= 0);
}

/* The process that is dumped has not waited for that. What is in the channel finds its reader. */
static void clone_start_recorder(const struct image *image)
{
	const struct spawn_order *recorder = image->order->recorder;
	int pidfd, err;

	if (!recorder)
		return;
	clone_begin(image, STEP_START_RECORDER);
	pidfd = clone_spawn(recorder, image->cpus);
	err = errno;
	clone_tell_started(recorder->input, pidfd);
	errno = err;
	if (pidfd < 0)
		clone_fail(image, STEP_START_RECORDER);
	clone_watch_reader(pidfd, image->pid);
	syscall(SYS_close, recorder->input);
}

static void clone_keep_python_stacks(struct clone *clone)
{
	struct python_stacks stacks;

	if (!is_limited(clone->order.content))
		return;
	if (clone_find_python_stacks(&clone->peek, &stacks))
		clone_fail(clone->image, STEP_MEMORY);
	clone->kept = (struct ranges){stacks.rows, stacks.count};
}

/* Only if there are any does the parent look which: that takes another walk of all pages. */
static void clone_count_marked_files(const struct clone *clone)
{
	uint64_t marked = 0;

	for (size_t i = 0; i < clone->map.count; i++)
		marked += clone->map.mappings[i].inode && clone->map.mappings[i].excluded;
	clone_tell_parent(clone->image->status_fd, MESSAGE_MARKED_FILES, marked, 0);
}

_Noreturn void clone_main(const struct image *image)
{
	struct clone clone;
	struct notes notes;
	bool has_all;

	clone_leave_service(image);
	has_all = clone_has_all(image);
	clone_await_release(image);
	clone_start_recorder(image);
	clone_threads_checked(&image->threads);
	/* Those that have run may have mapped as much as was not inherited. */
	has_all = has_all && clone_threads_stood_still(&image->threads);
	if (clone_raise_to_hard_limit(RLIMIT_FSIZE))
		clone_fail(image, STEP_FILE_SIZE_LIMIT);
	clone_begin(image, STEP_READ_MAPS);
	if (clone_prepare(&clone, image))
		clone_fail(image, STEP_MEMORY);
	clone_keep_python_stacks(&clone);
	clone_check_contexts(&clone);
	if (clone_read_map(&clone.map))
		clone_fail(image, STEP_READ_MAPS);
	clone_count_marked_files(&clone);
	clone_begin(image, STEP_EXCLUDE);
	if (clone_exclude(&clone))
		clone_fail(image, STEP_EXCLUDE);
	clone_compare_maps(&clone, has_all);
	clone_begin(image, STEP_MEMORY);
	if (clone_make_notes(&clone, &notes))
		clone_fail(image, STEP_MEMORY);
	if (image->order->kernel_writes)
		clone_die_of_sigsegv(image, &notes);
	clone_write_own_core(&clone, &notes);
}
