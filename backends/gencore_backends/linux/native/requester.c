// SPDX-License-Identifier: Apache-2.0
/* System calls and arithmetic only once it is made. */
#define _GNU_SOURCE
#include "requester.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc_text.h"
#include "spawn.h"

enum { ADDED = 3 }; /* what fired, the reason, and the process ID */

static size_t count_of(char *const *strings, size_t *bytes)
{
	size_t count = 0;

	for (; strings[count]; count++)
		*bytes += strlen(strings[count]) + 1;
	return count;
}

/* Copies the strings to *text*, and where they are to *ret*. Returns the end of the text. */
static char *copy_strings(char *text, char *const *strings, char **ret)
{
	for (; *strings; strings++) {
		size_t size = strlen(*strings) + 1;

		*ret++ = memcpy(text, *strings, size);
		text += size;
	}
	return text;
}

static void note_standard_error(struct requester *requester)
{
	struct stat file = {0};

	fstat(STDERR_FILENO, &file);
	requester->device = file.st_dev;
	requester->inode = file.st_ino;
}

int requester_messages(const struct requester *requester)
{
	struct stat file;

	if (fstat(STDERR_FILENO, &file) || file.st_dev != requester->device ||
	    file.st_ino != requester->inode)
		return -1;
	return STDERR_FILENO;
}

int requester_make(struct requester *ret, char *const *arguments, char *const *environment)
{
	size_t bytes = 0;
	size_t given = count_of(arguments, &bytes), variables = count_of(environment, &bytes);
	size_t rows = given + ADDED + 1 + variables + 1;
	size_t size = rows * sizeof(char *) + bytes;
	char **memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *text;

	if (memory == MAP_FAILED)
		return -1;
	*ret = (struct requester){
		.memory = memory,
		.size = size,
		.arguments = memory,
		.environment = memory + given + ADDED + 1,
		.added = memory + given,
	};
	text = copy_strings((char *)(memory + rows), arguments, ret->arguments);
	copy_strings(text, environment, ret->environment);
	note_standard_error(ret);
	return 0;
}

void requester_free(struct requester *requester)
{
	if (requester->memory)
		munmap(requester->memory, requester->size);
	*requester = (struct requester){.memory = NULL};
}

int requester_start(const struct requester *requester, const char *fired, const char *reason)
{
	char pid[24];
	struct spawn_order order = {
		.arguments = requester->arguments,
		.environment = requester->environment,
		.messages = requester_messages(requester),
	};
	int pidfd, err;

	*append_decimal(pid, (uint64_t)getpid()) = '\0';
	requester->added[0] = (char *)fired;
	requester->added[1] = (char *)reason;
	requester->added[2] = pid;
	order.input = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (order.input < 0)
		return -1;
	pidfd = spawn_detached(&order);
	err = errno;
	close(order.input);
	errno = err;
	return pidfd;
}
