// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proc_text.h"

enum { LEAST = 4096 };

static bool make_room(struct text *text, size_t size)
{
	size_t capacity = text->capacity ? text->capacity : LEAST;
	void *memory;

	while (capacity < text->size + size)
		capacity *= 2;
	if (capacity == text->capacity)
		return true;
	memory = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return false;
	memcpy(memory, text->data ? text->data : "", text->size);
	text_free(text);
	text->data = memory;
	text->capacity = capacity;
	return true;
}

void text_add_bytes(struct text *text, const char *added, size_t size)
{
	if (!make_room(text, size))
		return;
	memcpy(text->data + text->size, added, size);
	text->size += size;
}

void text_add(struct text *text, const char *added)
{
	text_add_bytes(text, added, strlen(added));
}

void text_add_number(struct text *text, uint64_t number)
{
	char digits[24];

	text_add_bytes(text, digits, (size_t)(append_decimal(digits, number) - digits));
}

void text_add_string(struct text *text, const char *added)
{
	if (!added) {
		text_add(text, "null");
		return;
	}
	text_add(text, "\"");
	text_add(text, added);
	text_add(text, "\"");
}

int text_add_file(struct text *text, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char part[4096];
	ssize_t size;
	int err;

	if (fd < 0)
		return -1;
	while ((size = read(fd, part, sizeof(part))) > 0)
		text_add_bytes(text, part, (size_t)size);
	err = size < 0 ? errno : ENOMEM;
	close(fd);
	errno = err;
	return size < 0 || !text->data ? -1 : 0;
}

void text_free(struct text *text)
{
	if (text->data)
		munmap(text->data, text->capacity);
	text->data = NULL;
	text->capacity = 0;
}
