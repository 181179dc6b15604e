// SPDX-License-Identifier: Apache-2.0
/*
 * Runs in the child; the contract of after_fork.c holds.
 *
 * Threads begin and end all the time, and with them their states; only here does the list stand
 * still. It is followed in both directions from a state that is there for certain: the caller's. A
 * thread that was stopped while it took its own state out, which without a GIL may be anywhere,
 * leaves each direction in order, with that state or without it.
 */
#define _GNU_SOURCE
#include "python_threads.h"

#include "memory_map.h"

enum {
	MAX_STATES = 65536,		   /* a list that is broken may be a circle */
	STATE_SIZE = 4096,		   /* more than any version's PyThreadState */
	INTERPRETER_SIZE = 512 * 1024,	   /* and PyInterpreterState */
};

/* The beginning of struct _ts in Include/cpython/pystate.h, 3.11 to 3.15. */
struct state_head {
	uintptr_t previous;
	uintptr_t next;
	uintptr_t interpreter;
};

static bool clone_read_head(const struct peek *peek, uintptr_t state, struct state_head *ret)
{
	return clone_peek(peek, ret, state, sizeof(*ret)) == sizeof(*ret);
}

static void clone_add(struct range *rows, size_t *count, uintptr_t start, size_t size)
{
	rows[(*count)++] = (struct range){start, start + size};
}

/* Add the states of the same interpreter that follow *head* in one direction. */
static void clone_follow(const struct peek *peek, struct state_head head, bool forward,
			 struct range *rows, size_t *count, size_t capacity)
{
	uintptr_t interpreter = head.interpreter;
	uintptr_t state;

	while ((state = forward ? head.next : head.previous) && *count < capacity) {
		if (!clone_read_head(peek, state, &head) || head.interpreter != interpreter)
			return;
		clone_add(rows, count, state, STATE_SIZE);
	}
}

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

static void clone_add_states(const struct peek *peek, uintptr_t state, struct range *rows,
			     size_t *count, size_t capacity)
{
	struct state_head head;

	if (!clone_read_head(peek, state, &head))
		return;
	clone_add(rows, count, head.interpreter, INTERPRETER_SIZE);
	clone_add(rows, count, state, STATE_SIZE);
	clone_follow(peek, head, true, rows, count, capacity);
	clone_follow(peek, head, false, rows, count, capacity);
}

int clone_keep_thread_states(const struct peek *peek, uintptr_t state, struct ranges *kept)
{
	size_t capacity = kept->count + MAX_STATES;
	size_t count = kept->count;
	struct range *rows = clone_memory((capacity + 2) * sizeof(*rows));

	if (!rows)
		return -1;
	for (size_t i = 0; i < count; i++)
		rows[i] = kept->rows[i];
	clone_add_states(peek, state, rows, &count, capacity);
	clone_sort(rows, count);
	*kept = (struct ranges){rows, clone_join(rows, count)};
	return 0;
}
