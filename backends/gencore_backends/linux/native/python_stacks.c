// SPDX-License-Identifier: Apache-2.0
/*
 * Runs in the clone; the contract of after_fork.c holds.
 *
 * A reader walks from _PyRuntime through the interpreters and their thread states to the frames,
 * from each frame to its code object and the names in that, and through the dynamic linker's list
 * of files. Layouts: Include/internal/pycore_frame.h, pycore_interp.h and Include/cpython/code.h of
 * CPython 3.11 to 3.15.
 *
 * Threads begin and end all the time, and with them their states; only here does the list stand
 * still. A thread that was stopped while it put its own state in or took it out, which without the
 * GIL may be anywhere, leaves the list from its head in order, with that state or without it. One
 * that was stopped while it built a frame may leave anything there: every object is known by its
 * type before it is believed.
 */
#define _GNU_SOURCE
#include "python_stacks.h"

#include <link.h>

#include "memory_map.h"

enum {
	MAX_ROWS = 1 << 22,
	MAX_LISTED = 1 << 16,	/* of any list: one that is broken may be a circle */
	MAX_OBJECT = 1 << 24,	/* bytes */
	MAX_PATH = 4096,
	STATE_SIZE = 1024,	/* more than any version's PyThreadState */
	FRAME_SIZE = 256,	/* more than any version's _PyInterpreterFrame without its locals */
	DICTIONARY_SIZE = 64,
	TAG = 7,		/* bits of a frame's pointer to its code, from 3.14 on */

	/* The same in all versions: PyObject, PyVarObject, PyASCIIObject, PyBytesObject, struct _ts. */
	TYPE = 8,
	SIZE = 16,
	STATE_OF_TEXT = 32,
	BYTES_HEAD = 33, /* with the NUL */
	NEXT_STATE = 8,
	INTERPRETER_OF_STATE = 16,
};

/* Of PyCodeObject, the same in all versions. */
static const size_t names_of_code = 96;
static const size_t texts_of_code[] = {112, 120, 128}; /* co_filename, co_name, co_qualname */
static const size_t lines_of_code = 136;

static struct python_layout layout;

void python_stacks_know(const struct python_layout *known)
{
	layout = *known;
}

bool python_stacks_are_known(void)
{
	return layout.first_interpreter;
}

struct finding {
	const struct peek *peek;
	struct range *rows;
	size_t count, capacity;
	bool out_of_memory;
	uintptr_t last_code; /* recursion */
};

/* Returns whether there is room for one more. */
static bool clone_make_room(struct finding *finding)
{
	void *rows = finding->rows;

	if (finding->count < finding->capacity)
		return true;
	rows = clone_grow(rows, finding->count, &finding->capacity, sizeof(*finding->rows));
	if (rows)
		finding->rows = rows;
	return rows;
}

static void clone_keep(struct finding *finding, uintptr_t start, size_t size)
{
	if (!start || finding->count == MAX_ROWS || finding->out_of_memory)
		return;
	if (!clone_make_room(finding)) {
		finding->out_of_memory = true;
		return;
	}
	finding->rows[finding->count++] = (struct range){start, start + size};
}

/* A word of memory, or 0. */
static uintptr_t clone_word(const struct finding *finding, uintptr_t address)
{
	uintptr_t word;

	return clone_peek(finding->peek, &word, address, sizeof(word)) == sizeof(word) ? word : 0;
}

/* ------------------------------------------------------------------------------------ objects */

static size_t clone_size_of_text(const struct finding *finding, uintptr_t text, size_t length)
{
	uint32_t state = (uint32_t)clone_word(finding, text + STATE_OF_TEXT);
	size_t bytes_each = state >> 2 & 7;
	bool ascii = state >> 6 & 1;

	return (ascii ? layout.ascii_head : layout.text_head) + (length + 1) * bytes_each;
}

/* The bytes of an object of one of the types that are looked for; 0 if it is of another. */
static size_t clone_size_of(const struct finding *finding, uintptr_t object, uintptr_t type)
{
	size_t length = clone_word(finding, object + SIZE);

	if (clone_word(finding, object + TYPE) != type || length > MAX_OBJECT)
		return 0;
	if (type == layout.text_type)
		return clone_size_of_text(finding, object, length);
	if (type == layout.bytes_type)
		return BYTES_HEAD + length;
	if (type == layout.tuple_type)
		return layout.tuple_head + length * sizeof(uintptr_t);
	return layout.code_head + length * sizeof(uint16_t); /* instructions */
}

static bool clone_keep_object(struct finding *finding, uintptr_t object, uintptr_t type)
{
	size_t size = object ? clone_size_of(finding, object, type) : 0;

	if (size)
		clone_keep(finding, object, size);
	return size;
}

static void clone_keep_names(struct finding *finding, uintptr_t tuple)
{
	size_t count;

	if (!clone_keep_object(finding, tuple, layout.tuple_type))
		return;
	count = clone_word(finding, tuple + SIZE);
	for (size_t i = 0; i < count && i < MAX_LISTED; i++)
		clone_keep_object(finding,
				  clone_word(finding, tuple + layout.tuple_head + i * sizeof(tuple)),
				  layout.text_type);
}

static void clone_keep_code(struct finding *finding, uintptr_t code)
{
	if (code == finding->last_code || !clone_keep_object(finding, code, layout.code_type))
		return;
	finding->last_code = code;
	for (size_t i = 0; i < sizeof(texts_of_code) / sizeof(*texts_of_code); i++)
		clone_keep_object(finding, clone_word(finding, code + texts_of_code[i]),
				  layout.text_type);
	clone_keep_object(finding, clone_word(finding, code + lines_of_code), layout.bytes_type);
	clone_keep_names(finding, clone_word(finding, code + names_of_code));
}

/* ------------------------------------------------------------------------------------ threads */

static void clone_keep_frames(struct finding *finding, uintptr_t frame)
{
	for (int i = 0; frame && i < MAX_LISTED; i++) {
		clone_keep(finding, frame, FRAME_SIZE);
		clone_keep_code(finding,
				clone_word(finding, frame + layout.code_of_frame) & ~(uintptr_t)TAG);
		frame = clone_word(finding, frame + layout.previous_frame);
	}
}

static void clone_keep_state(struct finding *finding, uintptr_t state)
{
	uintptr_t frame = clone_word(finding, state + layout.frame_of_state);

	clone_keep(finding, state, STATE_SIZE);
	if (frame && layout.through_c_frame)
		frame = clone_word(finding, frame + layout.frame_of_c_frame);
	clone_keep_frames(finding, frame);
}

static void clone_keep_interpreter(struct finding *finding, uintptr_t interpreter)
{
	uintptr_t state = clone_word(finding, interpreter + layout.first_state);

	clone_keep(finding, interpreter, layout.interpreter_size);
	for (int i = 0; state && i < MAX_LISTED; i++) {
		if (clone_word(finding, state + INTERPRETER_OF_STATE) != interpreter)
			return;
		clone_keep_state(finding, state);
		state = clone_word(finding, state + NEXT_STATE);
	}
}

static void clone_keep_python(struct finding *finding)
{
	uintptr_t interpreter = clone_word(finding, layout.first_interpreter);

	for (int i = 0; i < PYTHON_DICTIONARIES; i++)
		clone_keep(finding, layout.dictionaries[i], DICTIONARY_SIZE);
	for (int i = 0; interpreter && i < MAX_LISTED; i++) {
		clone_keep_interpreter(finding, interpreter);
		interpreter = clone_word(finding, interpreter + layout.next_interpreter);
	}
}

/* ---------------------------------------------------------------------------- the linker's list */

static void clone_keep_path(struct finding *finding, uintptr_t path)
{
	char text[MAX_PATH];
	size_t size = clone_peek(finding->peek, text, path, sizeof(text));
	size_t length = 0;

	while (length < size && text[length])
		length++;
	clone_keep(finding, path, length + 1);
}

static void clone_keep_linker_list(struct finding *finding)
{
	uintptr_t link = (uintptr_t)_r_debug.r_map;
	struct link_map row;

	for (int i = 0; link && i < MAX_LISTED; i++) {
		if (clone_peek(finding->peek, &row, link, sizeof(row)) != sizeof(row))
			return;
		clone_keep(finding, link, sizeof(row));
		clone_keep_path(finding, (uintptr_t)row.l_name);
		link = (uintptr_t)row.l_next;
	}
}

/* ------------------------------------------------------------------------------------ in order */

/* Shell's sort: in place, and fast for rows that are nearly in order. */
static void clone_sort(struct range *rows, size_t count)
{
	for (size_t gap = count / 2; gap; gap /= 2) {
		for (size_t i = gap; i < count; i++) {
			struct range row = rows[i];
			size_t at = i;

			for (; at >= gap && rows[at - gap].start > row.start; at -= gap)
				rows[at] = rows[at - gap];
			rows[at] = row;
		}
	}
}

static size_t clone_join(struct range *rows, size_t count)
{
	size_t last = 0;

	for (size_t i = 1; i < count; i++) {
		if (rows[i].start > rows[last].end)
			rows[++last] = rows[i];
		else if (rows[i].end > rows[last].end)
			rows[last].end = rows[i].end;
	}
	return count ? last + 1 : 0;
}

int clone_find_python_stacks(const struct peek *peek, struct python_stacks *ret)
{
	struct finding finding = {.peek = peek};

	clone_keep_python(&finding);
	clone_keep_linker_list(&finding);
	if (finding.out_of_memory) {
		clone_free(finding.rows, finding.capacity * sizeof(*finding.rows));
		return -1;
	}
	clone_sort(finding.rows, finding.count);
	ret->rows = finding.rows;
	ret->count = clone_join(finding.rows, finding.count);
	ret->memory = finding.capacity * sizeof(*finding.rows);
	return 0;
}

void clone_forget_python_stacks(struct python_stacks *stacks)
{
	if (stacks->rows)
		clone_free(stacks->rows, stacks->memory);
	*stacks = (struct python_stacks){.rows = NULL};
}
