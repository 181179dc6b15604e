// SPDX-License-Identifier: Apache-2.0
/*
 * What the clone does, done without a clone, so that sanitizers can look at it.
 *
 *   clone_parts descriptors FIRST,SECOND,... [listed]   close all but those; print what is left
 *   clone_parts states SHAPE                            keep a list's states; print how many ranges
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
#include "python_threads.h"

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

/* ---------------------------------------------------------------------------- the thread states */

struct state {
	struct state *previous, *next;
	void *interpreter;
	char rest[4096];
};

enum { STATES = 100 };

static uintptr_t make_states(const char *shape)
{
	static struct state states[STATES];
	static char interpreter[512 * 1024];
	struct state *middle = &states[STATES / 2];

	for (int i = 0; i < STATES; i++)
		states[i] = (struct state){.previous = i ? &states[i - 1] : NULL,
					   .next = i < STATES - 1 ? &states[i + 1] : NULL,
					   .interpreter = interpreter};
	if (!strcmp(shape, "circle"))
		states[STATES - 1].next = &states[0];
	if (!strcmp(shape, "wild"))
		middle->next = (struct state *)16;
	if (!strcmp(shape, "freed")) /* what a thread that has ended leaves behind */
		memset(middle + 1, 0xdd, sizeof(*middle));
	if (!strcmp(shape, "unlinking")) /* the state after it is out in one direction only */
		middle->next = middle + 2;
	return strcmp(shape, "none") ? (uintptr_t)middle : 0;
}

static int show_states(const char *shape)
{
	static const struct range before[] = {{0x1000, 0x2000}, {0x1800, 0x3000}, {0x5000, 0x6000}};
	struct ranges kept = {before, 3};
	uintptr_t state = make_states(shape);
	struct peek peek;
	size_t bytes = 0;

	if (clone_peek_open(&peek) || clone_keep_thread_states(&peek, state, &kept))
		return 1;
	for (size_t i = 0; i < kept.count; i++) {
		if (i && kept.rows[i].start <= kept.rows[i - 1].end)
			return 2;
		bytes += kept.rows[i].end - kept.rows[i].start;
	}
	printf("%zu\n", bytes);
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
	if (!strcmp(argv[1], "states"))
		return show_states(argv[2]);
	return show_lifeline(argv[2]);
}
