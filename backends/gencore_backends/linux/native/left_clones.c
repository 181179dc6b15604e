// SPDX-License-Identifier: Apache-2.0
/* A child is reaped by its parent alone: one thread of that makes the call, for us. */
#define _GNU_SOURCE
#include "left_clones.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tracees.h"

enum {
	LOOKS = 100, /* for a moment at which a call disturbs nobody */
	PAUSE_MS = 10,
	STOP_MS = 100,
	LAST_STOP_MS = 5000, /* at the last look, on a busy machine too */
	LATE_LOOK_MS = 5,
	EXIT_SIGNAL_FIELD = 36, /* counted from what stands behind the name; see proc(5), stat */
};

/* ------------------------------------------------------------------------------------- one child */

static void nap_ms(int ms)
{
	poll(NULL, 0, ms);
}

/* A thread of the process that can be stopped without harm, or after a while any. */
static struct tracee *stop_somebody(struct tracees *tracees)
{
	struct tracee *found = NULL;

	for (int look = 0; !found && look < LOOKS; look++) {
		tracees->all = look == LOOKS - 1;
		found = tracees_stop_any(tracees, tracees->all ? LAST_STOP_MS : STOP_MS);
		if (!found)
			nap_ms(PAUSE_MS);
	}
	return found;
}

bool reap_in(pid_t process, pid_t child_inside, const struct found_code *code)
{
	struct injected_call call = {
		.number = SYS_wait4,
		.args = {(unsigned long)child_inside, 0, __WALL | WNOHANG, 0},
	};
	struct borrowed borrowed = {.before = NULL};
	struct tracees tracees;
	struct tracee *tracee;
	bool reaped = false;

	if (!tracees_open(process, false, &tracees) && (tracee = stop_somebody(&tracees))) {
		reaped = !injection_run(&tracees, tracee, code, &call, &borrowed) &&
			 call.result == child_inside;
		tracees_release(&tracees);
		injection_give_back(0, &borrowed);
	}
	while (tracees_release_late(&tracees))
		nap_ms(LATE_LOOK_MS);
	tracees_close(&tracees);
	return reaped;
}

/* --------------------------------------------------------------------------------------- all of them */

/* Returns the bytes read, with a NUL behind them; 0 if there are none. */
static size_t read_text(const char *path, char *buffer, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t done = file ? fread(buffer, 1, size - 1, file) : 0;

	if (file)
		fclose(file);
	buffer[done] = '\0';
	return done;
}

/* What stands behind a row's key in the status of a process; NULL without it. */
static const char *row_of(const char *status, const char *key)
{
	const char *at = strstr(status, key);

	return at ? at + strlen(key) : NULL;
}

/* The ID in the innermost namespace, which is that of the parent. 0 if it is not to be reaped yet. */
static pid_t inner_id(pid_t child)
{
	char path[48], status[8192];
	const char *ids, *end;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)child);
	if (!read_text(path, status, sizeof(status)))
		return 0;
	ids = row_of(status, "\nNSpid:");
	end = ids ? strchr(ids, '\n') : NULL;
	if (!end)
		return 0;
	while (end > ids && end[-1] != '\t')
		end--;
	return (pid_t)strtol(end, NULL, 10);
}

struct child {
	char state;
	bool is_ours;
	bool is_held;
};

static struct child look_at(pid_t pid)
{
	char path[48], text[8192];
	struct child child = {.state = '\0'};
	const char *at, *tracer;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	at = read_text(path, text, sizeof(text)) ? strrchr(text, ')') : NULL;
	if (!at)
		return child;
	child.state = at[2];
	for (int field = 0; at && field < EXIT_SIGNAL_FIELD; field++)
		at = strchr(at + 1, ' ');
	child.is_ours = at && strtol(at, NULL, 10) == MARK_OF_CLONES;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	tracer = read_text(path, text, sizeof(text)) ? row_of(text, "\nTracerPid:\t") : NULL;
	child.is_held = tracer && *tracer != '0';
	return child;
}

/* Returns 1 if one of ours is left that nobody holds, 0 if not or not any more. */
static int reap_if_left(pid_t process, pid_t child, const struct found_code *code)
{
	struct child found = look_at(child);
	pid_t inside;

	if (!found.is_ours || found.is_held)
		return 0;
	inside = found.state == 'Z' ? inner_id(child) : 0;
	return inside && reap_in(process, inside, code) ? 0 : 1;
}

/* The children that a thread has made. */
static int reap_of_thread(pid_t process, const char *tid, const struct found_code *code)
{
	char path[64], children[65536];
	char *at = children;
	int left = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/children", (int)process, tid);
	read_text(path, children, sizeof(children));
	while (*at) {
		left += reap_if_left(process, (pid_t)strtol(at, &at, 10), code);
		at += strspn(at, " ");
	}
	return left;
}

int reap_left_clones(pid_t process)
{
	char path[48];
	struct found_code code;
	struct dirent *row;
	DIR *tasks;
	int left = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)process);
	tasks = opendir(path);
	if (!tasks)
		return 0; /* it has ended, and init reaps them */
	if (injection_find_code(process, &code))
		left = 1;
	while (!left && (row = readdir(tasks)))
		if (row->d_name[0] != '.')
			left += reap_of_thread(process, row->d_name, &code);
	closedir(tasks);
	return left;
}
