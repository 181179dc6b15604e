/* SPDX-License-Identifier: Apache-2.0 */
/* A growing piece of JSON, in memory of its own: malloc's locks may be held for ever. */
#ifndef GENCORE_TEXT_H
#define GENCORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char *data; /* NULL without memory: then all that is added is lost */
	size_t size;
	size_t capacity;
};

void text_add(struct text *text, const char *added);
void text_add_bytes(struct text *text, const char *added, size_t size);
void text_add_number(struct text *text, uint64_t number);

/* A string without characters that JSON escapes, or null. */
void text_add_string(struct text *text, const char *added);

/* All of a file, such as those of proc(5). Returns 0, or -1 with errno set. */
int text_add_file(struct text *text, const char *path);

void text_free(struct text *text);

#endif
