// SPDX-License-Identifier: Apache-2.0
/* System calls and arithmetic only: these functions also run in the snapshot, see after_fork.c. */
#define _GNU_SOURCE
#include "proc_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "threads.h"

/* linux/dirent.h; getdents64(2) */
struct linux_dirent64 {
	uint64_t d_ino;
	int64_t d_off;
	unsigned short d_reclen;
	unsigned char d_type;
	char d_name[];
};

char *append_text(char *end, const char *text)
{
	while (*text)
		*end++ = *text++;
	return end;
}

char *append_decimal(char *end, uint64_t number)
{
	char digits[20];
	int count = 0;

	do
		digits[count++] = (char)('0' + number % 10);
	while (number /= 10);
	while (count)
		*end++ = digits[--count];
	return end;
}

uint64_t parse_decimal(const char **text)
{
	uint64_t number = 0;

	while (**text >= '0' && **text <= '9')
		number = number * 10 + (uint64_t)(*(*text)++ - '0');
	return number;
}

static int hex_digit(char character)
{
	if (character >= '0' && character <= '9')
		return character - '0';
	if (character >= 'a' && character <= 'f')
		return character - 'a' + 10;
	return -1;
}

uint64_t parse_hex(const char **text)
{
	uint64_t number = 0;
	int digit;

	if ((*text)[0] == '0' && (*text)[1] == 'x')
		*text += 2;
	while ((digit = hex_digit(**text)) >= 0) {
		number = number << 4 | (uint64_t)digit;
		(*text)++;
	}
	return number;
}

long read_file(int directory, const char *path, char *buffer, size_t size)
{
	long fd = syscall(SYS_openat, directory, path, O_RDONLY | O_CLOEXEC, 0);
	long length = 0;
	long part = 1;

	if (fd < 0)
		return -1;
	while (part > 0 && (size_t)length < size) {
		part = syscall(SYS_read, (int)fd, buffer + length, size - (size_t)length);
		length += part > 0 ? part : 0;
	}
	syscall(SYS_close, (int)fd);
	return part < 0 ? -1 : length;
}

/* Below an open /proc/PID/task. *path* has room for 32 bytes. */
static void make_task_path(char *path, pid_t tid, const char *name)
{
	char *end = append_text(append_decimal(path, (uint64_t)tid), "/");

	*append_text(end, name) = '\0';
}

/* ------------------------------------------------------------------------------------- status */

/* The value behind "KEY:\t" at *line*, or NULL if the line has another key. */
static const char *value_of(const char *line, const char *key)
{
	while (*key)
		if (*line++ != *key++)
			return NULL;
	if (*line++ != ':')
		return NULL;
	while (*line == ' ' || *line == '\t')
		line++;
	return line;
}

static void parse_status_line(const char *line, struct thread_status *ret)
{
	const char *value;

	if ((value = value_of(line, "State")))
		ret->state = *value;
	else if ((value = value_of(line, "Threads")))
		ret->threads = (long)parse_decimal(&value);
	else if ((value = value_of(line, "SigPnd")))
		ret->pending = parse_hex(&value);
	else if ((value = value_of(line, "ShdPnd")))
		ret->shared_pending = parse_hex(&value);
	else if ((value = value_of(line, "SigBlk")))
		ret->blocked = parse_hex(&value);
	else if ((value = value_of(line, "voluntary_ctxt_switches")))
		ret->switches += ret->voluntary = parse_decimal(&value);
	else if ((value = value_of(line, "nonvoluntary_ctxt_switches")))
		ret->switches += parse_decimal(&value);
}

/* Parses lines as they come. Of a long one ("Groups:" may have 65,536) only the begin is kept. */
struct status_lines {
	char line[64];
	size_t length;
};

static void add_text(struct status_lines *lines, const char *text, long size,
		     struct thread_status *ret)
{
	for (long i = 0; i < size; i++) {
		if (text[i] != '\n') {
			if (lines->length < sizeof(lines->line) - 1)
				lines->line[lines->length++] = text[i];
			continue;
		}
		lines->line[lines->length] = '\0';
		parse_status_line(lines->line, ret);
		lines->length = 0;
	}
}

int read_thread_status(int directory, const char *path, struct thread_status *ret)
{
	struct status_lines lines = {.length = 0};
	char text[1024];
	long fd = syscall(SYS_openat, directory, path, O_RDONLY | O_CLOEXEC, 0);
	long size;

	*ret = (struct thread_status){.threads = -1};
	if (fd < 0)
		return -1;
	while ((size = syscall(SYS_read, (int)fd, text, sizeof(text))) > 0)
		add_text(&lines, text, size, ret);
	if (!size && !ret->state)
		errno = ESRCH;
	syscall(SYS_close, (int)fd);
	return size < 0 || !ret->state ? -1 : 0;
}

int read_task_status(int tasks, pid_t tid, struct thread_status *ret)
{
	char path[32];

	make_task_path(path, tid, "status");
	return read_thread_status(tasks, path, ret);
}

/* "NANOSECONDS-RUN NANOSECONDS-WAITED TIMES"; see Documentation/scheduler/sched-stats.rst. */
int read_task_arrivals(int tasks, pid_t tid, uint64_t *ret)
{
	char path[32], text[96];
	const char *at = text;
	long length;

	make_task_path(path, tid, "schedstat");
	length = read_file(tasks, path, text, sizeof(text) - 1);
	if (length <= 0)
		return -1;
	text[length] = '\0';
	for (int i = 0; i < 3; i++) {
		at += *at == ' ';
		*ret = parse_decimal(&at);
	}
	return 0;
}

uint64_t mapped_pages(void)
{
	char text[32] = "";
	const char *at = text;

	if (read_file(AT_FDCWD, "/proc/thread-self/statm", text, sizeof(text) - 1) <= 0)
		return 0;
	return parse_decimal(&at);
}

int count_tasks(void)
{
	struct thread_status status;

	if (read_thread_status(AT_FDCWD, "/proc/thread-self/status", &status))
		return -1;
	return (int)status.threads;
}

/* ------------------------------------------------------------------------------------ syscall */

/* "NUMBER ARG*6 SP PC", "-1 SP PC" outside a call, or "running". */
int read_task_call(int tasks, pid_t tid, struct thread_call *ret)
{
	char path[32], text[256];
	const char *at = text;
	long length;
	bool in_call;

	make_task_path(path, tid, "syscall");
	length = read_file(tasks, path, text, sizeof(text) - 1);
	memset(ret, 0, sizeof(*ret));
	if (length <= 0 || text[0] == 'r')
		return -1;
	text[length] = '\0';
	in_call = text[0] != '-';
	at += in_call ? 0 : 2;
	ret->number = in_call ? (long)parse_decimal(&at) : -1;
	for (int i = 0; in_call && i < 6; i++) {
		at += *at == ' ';
		ret->args[i] = parse_hex(&at);
	}
	at += *at == ' ' ? 1 : 2; /* behind "-1" */
	ret->sp = parse_hex(&at);
	at += *at == ' ';
	ret->pc = parse_hex(&at);
	return 0;
}

/* --------------------------------------------------------------------------------------- task */

pid_t next_task(struct task_list *list)
{
	for (;;) {
		const struct linux_dirent64 *entry;
		const char *name;

		if (list->position >= list->size) {
			list->size = syscall(SYS_getdents64, list->fd, list->entries,
					     sizeof(list->entries));
			list->position = 0;
			if (list->size <= 0)
				return (pid_t)list->size;
		}
		entry = (const void *)(list->entries + list->position);
		list->position += entry->d_reclen;
		name = entry->d_name;
		if (*name >= '0' && *name <= '9')
			return (pid_t)parse_decimal(&name);
	}
}
