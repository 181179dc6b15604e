// SPDX-License-Identifier: Apache-2.0
/* See cgroups(7), and memory.stat in Documentation/admin-guide/cgroup-v2.rst and cgroup-v1. */
#define _GNU_SOURCE
#include "cgroup_memory.h"

#include <fcntl.h>
#include <string.h>

#include "proc_text.h"

enum {
	STATISTICS = 8192, /* bytes of memory.stat, of which the kernel uses half */
	OWN = 8192,	   /* of /proc/self/cgroup */
	LONGEST = 400,	   /* of a path: the names of the files go behind it */
};

/* One of the two versions. */
struct hierarchy {
	const char *top;
	const char *usage;
	const char *limit;
	const char *inactive;
};

static const struct hierarchy version_1 = {"/sys/fs/cgroup/memory", "/memory.usage_in_bytes",
					   "/memory.limit_in_bytes", "total_inactive_file"};
static const struct hierarchy version_2 = {"/sys/fs/cgroup", "/memory.current", "/memory.max",
					   "inactive_file"};

static bool read_number(const char *path, uint64_t *ret)
{
	char text[32];
	const char *at = text;
	long length = *path ? read_file(AT_FDCWD, path, text, sizeof(text) - 1) : -1;

	if (length <= 0 || *text < '0' || *text > '9')
		return false;
	text[length] = '\0';
	*ret = parse_decimal(&at);
	return true;
}

/* The value of a row "NAME VALUE", 0 without one. */
static uint64_t read_row(const char *path, const char *name)
{
	char text[STATISTICS];
	size_t size = strlen(name);
	long length = read_file(AT_FDCWD, path, text, sizeof(text) - 1);

	if (length < 0)
		return 0;
	text[length] = '\0';
	for (const char *row = text; row; row = strchr(row, '\n')) {
		row += *row == '\n';
		if (!strncmp(row, name, size) && row[size] == ' ') {
			row += size + 1;
			return parse_decimal(&row);
		}
	}
	return 0;
}

bool cgroup_read(const struct cgroup_files *files, uint64_t *used, uint64_t *limit)
{
	uint64_t idle;

	if (!read_number(files->limit, limit) || !read_number(files->usage, used))
		return false;
	idle = read_row(files->statistics, files->inactive);
	*used -= idle < *used ? idle : *used;
	return true;
}

static void name_file(char *ret, const struct hierarchy *hierarchy, const char *path,
		      const char *file)
{
	*append_text(append_text(append_text(ret, hierarchy->top), path), file) = '\0';
}

static uint64_t room_at(const struct hierarchy *hierarchy, const char *path)
{
	struct cgroup_files files = {.inactive = hierarchy->inactive};
	uint64_t used, limit;

	name_file(files.usage, hierarchy, path, hierarchy->usage);
	name_file(files.limit, hierarchy, path, hierarchy->limit);
	name_file(files.statistics, hierarchy, path, "/memory.stat");
	if (!cgroup_read(&files, &used, &limit))
		return UINT64_MAX;
	return limit > used ? limit - used : 0;
}

/* At each level: a limit is one for all that is below it. Cuts the path off. */
static uint64_t least_room(const struct hierarchy *hierarchy, char *path)
{
	uint64_t least = UINT64_MAX, room;
	char *end;

	if (strlen(path) > LONGEST || strstr(path, "/.."))
		return least; /* outside of what is mounted here */
	while ((end = strrchr(path, '/'))) {
		room = room_at(hierarchy, end[1] ? path : "");
		least = room < least ? room : least;
		*end = '\0';
	}
	room = room_at(hierarchy, "");
	return room < least ? room : least;
}

/* Of a row of /proc/self/cgroup, ID:CONTROLLERS:PATH, without its end. */
static uint64_t room_in_row(char *row)
{
	char *controllers = strchr(row, ':'), *path;

	path = controllers ? strchr(++controllers, ':') : NULL;
	if (!path)
		return UINT64_MAX;
	*path++ = '\0';
	if (!*controllers)
		return least_room(&version_2, path);
	for (char *next; controllers; controllers = next) {
		next = strchr(controllers, ',');
		if (next)
			*next++ = '\0';
		if (!strcmp(controllers, "memory"))
			return least_room(&version_1, path);
	}
	return UINT64_MAX;
}

uint64_t cgroup_room(void)
{
	char text[OWN];
	long size = read_file(AT_FDCWD, "/proc/self/cgroup", text, sizeof(text) - 1);
	uint64_t least = UINT64_MAX, room;

	text[size < 0 ? 0 : size] = '\0';
	for (char *row = text, *end; (end = strchr(row, '\n')); row = end + 1) {
		*end = '\0';
		room = room_in_row(row);
		least = room < least ? room : least;
	}
	return least;
}
