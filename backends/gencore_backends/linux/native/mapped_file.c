// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc_text.h"
#include "text.h"

/* The map with a NUL behind it; empty where it cannot be read. */
static struct text read_map(void)
{
	struct text text = {.data = NULL};

	text_add_file(&text, "/proc/thread-self/maps");
	text_add_bytes(&text, "", 1);
	return text;
}

/* The path in the row of an address, cut off at its end; NULL without one. See proc(5), maps. */
static const char *path_at(char *map, uint64_t start)
{
	char *next;

	for (char *row = map; row && *row; row = next) {
		const char *at = row;

		next = strchr(row, '\n');
		if (next)
			*next++ = '\0';
		if (parse_hex(&at) != start)
			continue;
		at = strchr(at, '/');
		return at && at[-1] == ' ' ? at : NULL;
	}
	return NULL;
}

/* Returns 0 and the size of a regular file, or -1 with errno set. */
static int size_of(int fd, uint64_t *size)
{
	struct stat file;

	if (fstat(fd, &file))
		return -1;
	errno = EINVAL;
	*size = (uint64_t)file.st_size;
	return S_ISREG(file.st_mode) ? 0 : -1;
}

int open_mapped_file(uint64_t start, uint64_t *size)
{
	struct text map = read_map();
	const char *path = map.data ? path_at(map.data, start) : NULL;
	int fd, err;

	errno = ENOENT;
	fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY) : -1;
	err = errno;
	text_free(&map);
	if (fd >= 0 && size_of(fd, size)) {
		err = errno;
		close(fd);
		fd = -1;
	}
	errno = err;
	return fd;
}
