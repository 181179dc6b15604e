// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "inherited.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OWN "/proc/thread-self/"

enum { LONGEST_PATH = 64 };

/* What rows of proc_pid_status(5) begin with. */
static const char *const rows[] = {"Umask:", "Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp"};

static const char *const links[] = {
	"cwd",
	"root",
	"ns/cgroup",
	"ns/ipc",
	"ns/mnt",
	"ns/net",
	"ns/pid_for_children",
	"ns/time_for_children",
	"ns/user",
	"ns/uts",
};

static bool is_inherited(const char *row, size_t size)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (size >= strlen(rows[i]) && !memcmp(row, rows[i], strlen(rows[i])))
			return true;
	return false;
}

static void add_rows(struct text *text, const struct text *status)
{
	const char *row = status->data, *end = row + status->size;

	while (row < end) {
		const char *newline = memchr(row, '\n', (size_t)(end - row));
		size_t size = (size_t)((newline ? newline + 1 : end) - row);

		if (is_inherited(row, size))
			text_add_bytes(text, row, size);
		row += size;
	}
}

static void add_link(struct text *text, const char *name)
{
	char path[LONGEST_PATH], target[PATH_MAX];
	ssize_t size;

	snprintf(path, sizeof(path), OWN "%s", name);
	size = readlink(path, target, sizeof(target));
	text_add(text, name);
	text_add_bytes(text, target, size > 0 ? (size_t)size : 0);
	text_add(text, "\n");
}

/* As a hash (FNV-1a): the text is kept, and secrets are not to be in more places than before. */
static void add_environment(struct text *text)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (char *const *variable = environ; variable && *variable; variable++)
		for (const char *at = *variable; at == *variable || at[-1]; at++)
			hash = (hash ^ (unsigned char)*at) * 0x100000001b3;
	text_add_number(text, hash);
	text_add(text, "\n");
}

void inherited_add(struct text *text)
{
	struct text status = {.data = NULL};

	text_add_file(&status, OWN "status");
	if (status.data)
		add_rows(text, &status);
	text_free(&status);
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		add_link(text, links[i]);
	text_add_file(text, OWN "cgroup");
	add_environment(text);
}

/* 0 if that is not to be had, or the process has ended. */
static pid_t pid_of(int pidfd)
{
	static const char name[] = "\nPid:\t";
	struct text text = {.data = NULL};
	char path[LONGEST_PATH];
	const char *found;
	long pid;

	snprintf(path, sizeof(path), OWN "fdinfo/%d", pidfd);
	text_add_file(&text, path);
	text_add_bytes(&text, "", 1);
	found = text.data ? strstr(text.data, name) : NULL;
	pid = found ? strtol(found + strlen(name), NULL, 10) : 0;
	text_free(&text);
	return pid > 0 ? (pid_t)pid : 0;
}

bool may_look_at(int pidfd)
{
	char path[LONGEST_PATH], target[PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%d/root", pid_of(pidfd));
	return readlink(path, target, sizeof(target)) >= 0;
}
