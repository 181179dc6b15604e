// SPDX-License-Identifier: Apache-2.0
/* System calls and arithmetic only: one half of this file runs in the child, see after_fork.c. */
#define _GNU_SOURCE
#include "descriptors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel_abi.h"
#include "proc_text.h"

/* A walk through /proc/PID/fd. Not /proc/self: that is empty once the main thread has ended. */
struct descriptor_list {
	int fd;
	long size;
	long position;
	_Alignas(8) char entries[2048];
};

/* getdents64(2) fills in what the C library calls struct dirent, on 64-bit platforms. */
_Static_assert(offsetof(struct dirent, d_name) == 19, "struct linux_dirent64");

static int open_list(struct descriptor_list *list)
{
	list->size = list->position = 0;
	list->fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/fd",
				O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	return list->fd < 0 ? -1 : 0;
}

/* The next descriptor but the list's own, or -1 behind the last one. */
static int next_descriptor(struct descriptor_list *list)
{
	for (;;) {
		const struct dirent *entry;
		const char *name;
		int fd;

		if (list->position >= list->size) {
			list->size = syscall(SYS_getdents64, list->fd, list->entries,
					     sizeof(list->entries));
			list->position = 0;
			if (list->size <= 0)
				return -1;
		}
		entry = (const void *)(list->entries + list->position);
		list->position += entry->d_reclen;
		name = entry->d_name;
		if (*name == '.')
			continue;
		fd = (int)parse_decimal(&name);
		if (fd != list->fd)
			return fd;
	}
}

/* ------------------------------------------------------------------------- closed in the clone */

static bool clone_keeps(const int *kept, size_t count, int fd)
{
	for (size_t i = 0; i < count; i++)
		if (kept[i] == fd)
			return true;
	return false;
}

/* Kernels before 5.9 and some seccomp profiles lack close_range. */
static int clone_close_listed(const int *kept, size_t count)
{
	struct descriptor_list list;
	int fd;

	for (fd = 0; fd <= (int)count; fd++) /* one of them at least: room for the list's own */
		if (!clone_keeps(kept, count, fd))
			syscall(SYS_close, fd);
	if (open_list(&list))
		return -1;
	while ((fd = next_descriptor(&list)) >= 0)
		if (!clone_keeps(kept, count, fd))
			syscall(SYS_close, fd);
	syscall(SYS_close, list.fd);
	errno = EIO;
	return list.size < 0 ? -1 : 0;
}

static void clone_sort(int *numbers, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		for (size_t j = i; j > 0 && numbers[j - 1] > numbers[j]; j--) {
			int number = numbers[j];

			numbers[j] = numbers[j - 1];
			numbers[j - 1] = number;
		}
	}
}

static int clone_close_range(int first, unsigned int last)
{
	if ((unsigned int)first > last)
		return 0;
	return (int)syscall(SYS_close_range, (unsigned int)first, last, 0);
}

int clone_close_all_but(int *kept, size_t count)
{
	int first = 0; /* of what is still to be closed */

	clone_sort(kept, count);
	for (size_t i = 0; i < count; i++) {
		if (kept[i] > first && clone_close_range(first, (unsigned int)kept[i] - 1))
			return clone_close_listed(kept, count);
		first = kept[i] >= first ? kept[i] + 1 : first;
	}
	if (clone_close_range(first, UINT_MAX))
		return clone_close_listed(kept, count);
	return 0;
}

/* ------------------------------------------------------------------------ looked at before it */

enum { UFFD_EVENT_FORK = 1 << 1 }; /* linux/userfaultfd.h */

enum { NUMBERS = 16 }; /* are asked for in the time that a list takes for one */

static bool is_userfaultfd(const char *name)
{
	static const char link[] = "anon_inode:[userfaultfd]";
	char path[48], text[sizeof(link)];
	ssize_t length;

	*append_text(append_text(path, "/proc/thread-self/fd/"), name) = '\0';
	length = readlink(path, text, sizeof(text));
	return length == (ssize_t)sizeof(link) - 1 && !memcmp(text, link, sizeof(link) - 1);
}

/* "API:\tVERSION:FEATURES:CALLS" in hexadecimal; userfaultfd_show_fdinfo() of fs/userfaultfd.c. */
static uint64_t features_of(const char *name)
{
	char path[64], text[512];
	const char *at;
	long length;

	*append_text(append_text(path, "/proc/thread-self/fdinfo/"), name) = '\0';
	length = read_file(AT_FDCWD, path, text, sizeof(text) - 1);
	text[length < 0 ? 0 : length] = '\0';
	at = strstr(text, "API:\t");
	if (!at)
		return 0;
	at += strlen("API:\t");
	parse_hex(&at);
	at += *at == ':';
	return parse_hex(&at);
}

static bool reports_forks(int fd)
{
	char name[16];

	*append_decimal(name, (uint64_t)fd) = '\0';
	return is_userfaultfd(name) && features_of(name) & UFFD_EVENT_FORK;
}

static bool is_socket(int fd)
{
	int type;
	socklen_t size = sizeof(type);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
}

/* How many descriptors there are, as Linux 6.2 and later say at once; 0 before. */
static uint64_t known_count(void)
{
	struct stat directory;

	return stat("/proc/thread-self/fd", &directory) ? 0 : (uint64_t)directory.st_size;
}

/*
 * Asks for one number after the other: for a list, and for a name, the kernel makes entries in /proc.
 * No file system is asked, as it may hang. Returns whether all were met; then *found says whether one
 * of them reports forks.
 */
static bool look_at_numbers(bool *found)
{
	uint64_t count = known_count(), met = 0;

	*found = false;
	for (int fd = 0; met < count && (uint64_t)fd < count * NUMBERS && !*found; fd++) {
		if (is_socket(fd))
			met++;
		else if (errno != EBADF && ++met)
			*found = fcntl(fd, F_GETPIPE_SZ) < 0 && reports_forks(fd);
	}
	return *found || (count && met == count && known_count() == count);
}

static bool look_at_list(void)
{
	struct descriptor_list list;
	bool found = false;
	int fd;

	if (open_list(&list))
		return false;
	while (!found && (fd = next_descriptor(&list)) >= 0)
		found = reports_forks(fd);
	close(list.fd);
	return found;
}

bool userfaultfd_reports_forks(void)
{
	bool found;

	return look_at_numbers(&found) ? found : look_at_list();
}

uint64_t count_descriptors(void)
{
	struct descriptor_list list;
	uint64_t count = known_count();

	if (count || open_list(&list))
		return count;
	while (next_descriptor(&list) >= 0)
		count++;
	close(list.fd);
	return count;
}

int above_standard_streams(int fd)
{
	int moved, err;

	if (fd < 0 || fd > STDERR_FILENO)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	err = errno;
	close(fd);
	errno = err;
	return moved;
}

int pipe_above_standard_streams(int *ends)
{
	int err;

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	ends[0] = above_standard_streams(ends[0]);
	ends[1] = above_standard_streams(ends[1]);
	if (ends[0] >= 0 && ends[1] >= 0)
		return 0;
	err = errno;
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	errno = err;
	return -1;
}

bool can_be_read(int fd)
{
	struct pollfd row = {.fd = fd, .events = POLLIN};

	return poll(&row, 1, 0) > 0;
}
