/* SPDX-License-Identifier: Apache-2.0 */
/* The notes of a core: registers of every thread, and what the process was. See core(5), elf(5). */
#ifndef GENCORE_NOTES_H
#define GENCORE_NOTES_H

#include <stddef.h>
#include <stdint.h>

struct clone;

/* What a note takes besides its data: header, owner's name, and padding. */
#define NOTE_OVERHEAD 32

/* Notes one behind the other, in memory that is large enough for all of them. */
struct notes {
	char *data;
	size_t size;
	size_t capacity;
};

/* Add a note; returns where its *size* bytes of data go. Zeros before they are written. */
void *notes_add(struct notes *notes, const char *owner, uint32_t type, size_t size);

/* The rest runs in the clone. */

/* Look whether the registers of stopped threads are here; a context that is not becomes NULL. */
void clone_check_contexts(const struct clone *clone);

/* All notes of the image; needs its map. Returns 0, or -1 with errno set. */
int clone_make_notes(const struct clone *clone, struct notes *ret);

#endif
