// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "agent_address.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc_text.h"

enum { START_FIELD = 20 }; /* counted from what stands behind the name: 3 is the first */

/* The name of the program may hold anything, parentheses and blanks too. */
static uint64_t start_time(void)
{
	char text[1024];
	long size = read_file(AT_FDCWD, "/proc/self/stat", text, sizeof(text) - 1);
	const char *at;

	text[size < 0 ? 0 : size] = '\0';
	at = strrchr(text, ')');
	for (int field = 0; at && field < START_FIELD; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return 0;
	at++;
	return parse_decimal(&at);
}

int agent_identity(char *ret, size_t size)
{
	struct stat namespace;
	uint64_t start = start_time();
	char *end = ret;

	if (stat("/proc/self/ns/pid", &namespace))
		return -1;
	errno = ENAMETOOLONG;
	if (size < 64)
		return -1;
	errno = ENOENT;
	if (!start)
		return -1;
	end = append_text(append_decimal(end, namespace.st_ino), "/");
	end = append_text(append_decimal(end, (uint64_t)getpid()), "/");
	*append_decimal(end, start) = '\0';
	return 0;
}

void agent_abstract_address(const char *identity, struct agent_address *ret)
{
	char *end = ret->name.sun_path + 1; /* the first byte is 0 */

	memset(ret, 0, sizeof(*ret));
	ret->name.sun_family = AF_UNIX;
	end = append_text(append_text(end, "gencore/"), identity);
	ret->size = (socklen_t)(end - (char *)&ret->name);
}

int agent_path_address(const char *directory, const char *identity, struct agent_address *ret)
{
	char *end = ret->name.sun_path;
	size_t length = strlen(directory) + strlen(identity) + sizeof("/.sock");

	memset(ret, 0, sizeof(*ret));
	ret->name.sun_family = AF_UNIX;
	if (length > sizeof(ret->name.sun_path))
		return -1;
	end = append_text(append_text(end, directory), "/");
	for (; *identity; identity++)
		*end++ = *identity == '/' ? '-' : *identity;
	append_text(end, ".sock");
	ret->size = sizeof(ret->name);
	return 0;
}
