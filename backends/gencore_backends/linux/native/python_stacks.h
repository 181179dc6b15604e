/* SPDX-License-Identifier: Apache-2.0 */
/* The memory that readers need to print every Python stack: found without Python, and without the GIL. */
#ifndef GENCORE_PYTHON_STACKS_H
#define GENCORE_PYTHON_STACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "peek.h"
#include "snapshot.h"

enum { PYTHON_DICTIONARIES = 3 };

/* Where an interpreter's structures are, and what they look like in its version: bytes. */
struct python_layout {
	uintptr_t first_interpreter; /* where the address of the first one is */
	uintptr_t code_type, text_type, bytes_type, tuple_type;
	uintptr_t dictionaries[PYTHON_DICTIONARIES]; /* by which readers recognize it */
	size_t interpreter_size, next_interpreter, first_state; /* of PyInterpreterState */
	size_t frame_of_state; /* in PyThreadState: the current frame, or what points to that */
	bool through_c_frame;
	size_t frame_of_c_frame;
	size_t code_of_frame, previous_frame; /* of _PyInterpreterFrame */
	size_t code_head;		      /* of PyCodeObject: up to the instructions */
	size_t tuple_head, ascii_head, text_head;
};

/* Keep the layout of this process's Python for all captures. Called with the GIL. */
void python_stacks_know(const struct python_layout *layout);

/* Whether it is known, without which no capture can be limited to stacks. */
bool python_stacks_are_known(void);

/* What was found: in order of address, none touch another, in memory of its own. */
struct python_stacks {
	struct range *rows;
	size_t count;
	size_t memory; /* bytes */
};

/*
 * Run in the clone, or with the GIL. Find that memory and the dynamic linker's list of files.
 * Returns 0, or -1 with errno set.
 */
int clone_find_python_stacks(const struct peek *peek, struct python_stacks *ret);
void clone_forget_python_stacks(struct python_stacks *stacks);

#endif
