// SPDX-License-Identifier: Apache-2.0
/*
 * What the clone does, done without a clone, so that sanitizers can look at it.
 *
 *   clone_parts descriptors FIRST,SECOND,... [listed]   close all but those; print what is left
 *   clone_parts stacks SHAPE                            find Python's; print how many of each piece
 *   clone_parts lifeline WHOM                           wait for room until that process has ended
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "descriptors.h"
#include "kernel_abi.h"
#include "lifeline.h"
#include "python_stacks.h"

static int refuse_close_range(void)
{
	struct sock_filter steps[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(steps) / sizeof(*steps), .filter = steps};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int show_descriptors(char *list, bool listed)
{
	int kept[8];
	size_t count = 0;
	FILE *out;

	while (open("/dev/null", O_RDONLY) < 900)
		;
	for (char *text = strtok(list, ","); text && count < 8; text = strtok(NULL, ","))
		kept[count++] = atoi(text);
	if ((listed && refuse_close_range()) || clone_close_all_but(kept, count))
		return 1;
	out = fdopen(kept[0] < 0 ? kept[1] : kept[0], "w"); /* the lowest: 1 */
	for (int fd = 0; fd < 1000; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			fprintf(out, "%d ", fd);
	return fflush(out);
}

/* ------------------------------------------------------------------------------ the Python stacks */

enum { STATES = 100 };

/* So large that each range that is found is one of its own. */
struct piece {
	uintptr_t words[64];
	char rest[8192];
};

/* Stand for types. */
static const char code_type, text_type, bytes_type, tuple_type;

static struct piece interpreter, states[STATES], frames[STATES], code, text, lines, names;

/* Every state has one frame, and all frames have one code, in a layout that no Python has. */
static struct python_layout make_python(const char *shape)
{
	static uintptr_t first;
	struct piece *middle = &states[STATES / 2];

	first = strcmp(shape, "none") ? (uintptr_t)&interpreter : 0;
	interpreter.words[1] = (uintptr_t)&states[0];
	for (int i = 0; i < STATES; i++) {
		states[i].words[1] = i < STATES - 1 ? (uintptr_t)&states[i + 1] : 0;
		states[i].words[2] = (uintptr_t)&interpreter;
		states[i].words[3] = (uintptr_t)&frames[i];
		frames[i].words[0] = (uintptr_t)&code | 1; /* tagged */
	}
	code.words[1] = (uintptr_t)&code_type;
	code.words[2] = 1000;
	code.words[12] = (uintptr_t)&names;
	for (int i = 14; i < 17; i++)
		code.words[i] = (uintptr_t)&text;
	code.words[17] = (uintptr_t)&lines;
	text.words[1] = (uintptr_t)&text_type;
	text.words[2] = 9;
	text.words[4] = 1 << 6 | 1 << 2; /* ASCII: a byte each */
	lines.words[1] = (uintptr_t)&bytes_type;
	lines.words[2] = 50;
	names.words[1] = (uintptr_t)&tuple_type;
	names.words[2] = 1;
	names.words[3] = (uintptr_t)&text;
	if (!strcmp(shape, "circle"))
		states[STATES - 1].words[1] = (uintptr_t)&states[0];
	if (!strcmp(shape, "wild"))
		middle->words[1] = 16;
	if (!strcmp(shape, "freed")) /* what a thread that has ended leaves behind */
		memset(middle + 1, 0xdd, sizeof(*middle));
	if (!strcmp(shape, "half-made")) /* a frame whose code is not there yet */
		frames[0].words[0] = (uintptr_t)&frames[1] | 1;
	if (!strcmp(shape, "recursion"))
		frames[0].words[1] = (uintptr_t)&frames[0];
	if (!strcmp(shape, "huge"))
		code.words[2] = SIZE_MAX / 2;
	return (struct python_layout){
		.first_interpreter = (uintptr_t)&first,
		.code_type = (uintptr_t)&code_type,
		.text_type = (uintptr_t)&text_type,
		.bytes_type = (uintptr_t)&bytes_type,
		.tuple_type = (uintptr_t)&tuple_type,
		.interpreter_size = 3000,
		.first_state = 8,
		.frame_of_state = 24,
		.previous_frame = 8,
		.code_head = 200,
		.tuple_head = 24,
		.ascii_head = 40,
	};
}

/* How many of the pieces are there, each with so many bytes and no more. */
static int count_in(const struct python_stacks *stacks, const struct piece *pieces, int count,
		    size_t size)
{
	int found = 0;

	for (int i = 0; i < count; i++)
		for (size_t row = 0; row < stacks->count; row++)
			found += stacks->rows[row].start == (uintptr_t)&pieces[i] &&
				 stacks->rows[row].end == (uintptr_t)&pieces[i] + size;
	return found;
}

static int show_stacks(const char *shape)
{
	struct python_layout layout = make_python(shape);
	struct python_stacks stacks;
	struct peek peek;

	python_stacks_know(&layout);
	if (clone_peek_open(&peek) || clone_find_python_stacks(&peek, &stacks))
		return 1;
	for (size_t i = 0; i < stacks.count; i++) {
		if (i && stacks.rows[i].start <= stacks.rows[i - 1].end)
			return 2;
	}
	printf("%d %d %d %d %d %d %d\n", count_in(&stacks, &interpreter, 1, 3000),
	       count_in(&stacks, states, STATES, 1024), count_in(&stacks, frames, STATES, 256),
	       count_in(&stacks, &code, 1, 200 + 2 * 1000), count_in(&stacks, &text, 1, 40 + 10),
	       count_in(&stacks, &lines, 1, 33 + 50), count_in(&stacks, &names, 1, 24 + 8));
	clone_forget_python_stacks(&stacks);
	return 0;
}

/* --------------------------------------------------------------------------------- the lifeline */

static int show_lifeline(const char *whom)
{
	char zeros[4096] = {0};
	int fds[2], reader = -1;
	pid_t pid = fork();

	if (!pid) {
		usleep(50000);
		_exit(0);
	}
	if (pipe2(fds, O_NONBLOCK)) /* this process holds the reading end throughout */
		return 1;
	if (!strcmp(whom, "reader"))
		reader = (int)syscall(SYS_pidfd_open, pid, 0);
	clone_watch_reader(reader, getppid());
	if (clone_check_reader() || clone_wait_for_room(fds[1]))
		return 2;
	while (write(fds[1], zeros, sizeof(zeros)) > 0)
		;
	if (!strcmp(whom, "parent") && read(fds[0], zeros, sizeof(zeros)) < 0)
		return 3; /* it lives: there must be room again */
	printf("%s\n", clone_wait_for_room(fds[1]) ? (errno == ESRCH ? "ESRCH" : "error") : "room");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 77;
	if (!strcmp(argv[1], "descriptors"))
		return show_descriptors(argv[2], argc > 3);
	if (!strcmp(argv[1], "stacks"))
		return show_stacks(argv[2]);
	return show_lifeline(argv[2]);
}
