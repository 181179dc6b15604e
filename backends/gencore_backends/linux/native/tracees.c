// SPDX-License-Identifier: Apache-2.0
/*
 * Threads are seized, which stops nobody, and then interrupted; see ptrace(2). What else is met on
 * the way to that stop, a signal or an end, goes to the thread as if nobody had looked.
 */
#define _GNU_SOURCE
#include "tracees.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch_traced.h"
#include "clock.h"
#include "kernel_abi.h"
#include "proc_text.h"
#include "traced_calls.h"

enum {
	LARGEST_SET = 16 << 10, /* bytes of registers; AMX has 8 KiB */
	IMPATIENT_LOOKS = 50,	/* before a wait sleeps in between */
	NAP_NS = 50000,
};

/* What belongs to us alone: a thread of the application that waits for others sees none of it. */
static const int ours = __WALL | __WNOTHREAD | WNOHANG;

/* ---------------------------------------------------------------------------------- registers */

static int get_set(pid_t tid, uint32_t type, void *data, size_t *size)
{
	struct iovec part = {data, *size};

	if (ptrace(PTRACE_GETREGSET, tid, (void *)(uintptr_t)type, &part))
		return -1;
	*size = part.iov_len;
	return 0;
}

static int set_general(pid_t tid, arch_registers *regs)
{
	struct iovec part = {regs, sizeof(*regs)};

	return (int)ptrace(PTRACE_SETREGSET, tid, (void *)(uintptr_t)NT_PRSTATUS, &part);
}

static void note_more_sets(struct tracee *tracee)
{
	char buffer[LARGEST_SET];
	const size_t count = sizeof(arch_more_sets) / sizeof(*arch_more_sets);

	for (size_t i = 0; i < count; i++) {
		size_t size = sizeof(buffer);
		void *data;

		if (get_set(tracee->tid, arch_more_sets[i], buffer, &size) || !size)
			continue; /* this processor has none */
		data = malloc(size);
		if (!data)
			continue;
		memcpy(data, buffer, size);
		free(tracee->sets[i].data);
		tracee->sets[i] = (struct register_set){arch_more_sets[i], (uint32_t)size, data};
	}
}

/*
 * A call that ends with EINTR is run again instead, unless the application's own SIGSTOP has ended
 * it. It is set back at once: should the tracer be killed, the thread goes on in the same way.
 */
static void note_registers(struct tracee *tracee)
{
	size_t size = sizeof(tracee->registers);

	if (get_set(tracee->tid, NT_PRSTATUS, &tracee->registers, &size))
		return;
	note_more_sets(tracee);
	tracee->in_call = arch_was_in_call(&tracee->registers, &tracee->call);
	tracee->resumed = tracee->registers;
	tracee->state = TRACEE_STOPPED;
	if (!tracee->in_call)
		return;
	arch_resume_exactly(&tracee->resumed, &tracee->call);
	tracee->set_back = arch_result_of(&tracee->registers) == -EINTR && !tracee->by_signal &&
			   traced_call_can_run_again(&tracee->call);
	if (tracee->set_back) {
		arch_run_again(&tracee->resumed, &tracee->call);
		set_general(tracee->tid, &tracee->resumed);
	}
}

/* ------------------------------------------------------------------------------------- stops */

static void nap(unsigned int looks)
{
	const struct timespec moment = {.tv_nsec = NAP_NS};

	if (looks < IMPATIENT_LOOKS)
		sched_yield();
	else
		syscall(SYS_nanosleep, &moment, NULL);
}

int tracee_wait(pid_t tid, uint64_t until_ns)
{
	for (unsigned int looks = 0;; looks++) {
		int status;
		pid_t found = waitpid(tid, &status, ours);

		if (found > 0)
			return status;
		if (found < 0 || now_ns() >= until_ns)
			return -1;
		nap(looks);
	}
}

/* A signal is handed on; the thread then stops before it runs the handler. */
static void pass_signal_on(const struct tracee *tracee, int status)
{
	ptrace(PTRACE_INTERRUPT, tracee->tid, NULL, NULL);
	ptrace(PTRACE_CONT, tracee->tid, NULL, (void *)(uintptr_t)WSTOPSIG(status));
}

static void note_stop(struct tracee *tracee, int status)
{
	if (!WIFSTOPPED(status)) {
		tracee->state = TRACEE_ENDED;
	} else if (status >> 16 != PTRACE_EVENT_STOP) {
		pass_signal_on(tracee, status);
	} else {
		tracee->by_signal = WSTOPSIG(status) != SIGTRAP;
		note_registers(tracee);
	}
}

static struct tracee *find_row(const struct tracees *tracees, pid_t tid)
{
	for (uint32_t i = 0; i < tracees->count; i++)
		if (tracees->rows[i].tid == tid)
			return &tracees->rows[i];
	return NULL;
}

static bool one_is_asked(const struct tracees *tracees)
{
	for (uint32_t i = 0; i < tracees->count; i++)
		if (tracees->rows[i].state == TRACEE_ASKED)
			return true;
	return false;
}

static void await_stops(struct tracees *tracees, uint64_t until_ns)
{
	for (unsigned int looks = 0; one_is_asked(tracees) && now_ns() < until_ns;) {
		int status;
		pid_t tid = waitpid(-1, &status, ours);
		struct tracee *row = tid > 0 ? find_row(tracees, tid) : NULL;

		if (row)
			note_stop(row, status);
		else
			nap(looks++);
	}
}

static void give_late_ones_up(struct tracees *tracees)
{
	for (uint32_t i = 0; i < tracees->count; i++) {
		if (tracees->rows[i].state != TRACEE_ASKED)
			continue;
		tracees->rows[i].state = TRACEE_LATE;
		tracees->rows[i].reason = REASON_NO_ANSWER;
	}
}

/* ----------------------------------------------------------------------------------- attaching */

static struct tracee *add_row(struct tracees *tracees, pid_t tid)
{
	if (tracees->count == tracees->capacity) {
		uint32_t capacity = tracees->capacity ? 2 * tracees->capacity : 64;
		void *rows = realloc(tracees->rows, capacity * sizeof(*tracees->rows));

		if (!rows)
			return NULL;
		tracees->rows = rows;
		tracees->capacity = capacity;
	}
	tracees->rows[tracees->count] = (struct tracee){.tid = tid};
	return &tracees->rows[tracees->count++];
}

static int attach(struct tracee *row)
{
	if (ptrace(PTRACE_SEIZE, row->tid, NULL, NULL)) {
		row->state = TRACEE_ENDED;
		return errno == ESRCH ? 0 : -1;
	}
	row->state = TRACEE_ASKED;
	ptrace(PTRACE_INTERRUPT, row->tid, NULL, NULL);
	return 0;
}

/* Read it, and attach if that disturbs it less. Returns 0, or -1 with errno set. */
static int look_at(struct tracees *tracees, struct tracee *row)
{
	struct thread_status status;

	row->call.number = -1;
	if (read_task_status(tracees->tasks, row->tid, &status) || strchr("ZX", status.state)) {
		row->state = TRACEE_ENDED;
		return 0;
	}
	row->switches = status.switches;
	if (!read_task_call(tracees->tasks, row->tid, &row->call) && row->call.number >= 0 &&
	    !strchr("Tt", status.state))
		row->reason = traced_call_obstacle(&row->call, tracees->pidfd);
	if (row->reason == REASON_NONE || tracees->all) {
		row->reason = REASON_NONE;
		return attach(row);
	}
	row->state = TRACEE_READ;
	return 0;
}

/* Look at the threads that have no row yet. Returns how many, or -1 with errno set. */
static int look_at_new(struct tracees *tracees)
{
	struct task_list list = {.fd = tracees->tasks};
	int found = 0;
	pid_t tid;

	lseek(tracees->tasks, 0, SEEK_SET);
	while ((tid = next_task(&list)) > 0) {
		struct tracee *row;

		if (find_row(tracees, tid))
			continue;
		row = add_row(tracees, tid);
		if (!row || look_at(tracees, row))
			return -1;
		found++;
	}
	return tid < 0 ? -1 : found;
}

int tracees_open(pid_t pid, bool all, struct tracees *ret)
{
	char path[48];

	*append_text(append_decimal(append_text(path, "/proc/"), (uint64_t)pid), "/task") = '\0';
	*ret = (struct tracees){.pid = pid, .all = all, .tasks = -1};
	ret->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (ret->pidfd < 0)
		return -1;
	ret->tasks = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return ret->tasks < 0 ? -1 : 0;
}

void tracees_close(struct tracees *tracees)
{
	for (uint32_t i = 0; i < tracees->count; i++)
		for (int set = 0; set < MOST_SETS; set++)
			free(tracees->rows[i].sets[set].data);
	free(tracees->rows);
	if (tracees->tasks >= 0)
		close(tracees->tasks);
	if (tracees->pidfd >= 0)
		close(tracees->pidfd);
	tracees->rows = NULL;
	tracees->count = 0;
}

static void count_unlisted(struct tracees *tracees)
{
	struct thread_status status;
	uint32_t listed = 0;

	for (uint32_t i = 0; i < tracees->count; i++)
		listed += tracees->rows[i].state != TRACEE_ENDED;
	if (!read_task_status(tracees->tasks, tracees->pid, &status) && status.threads > listed)
		tracees->unlisted = (uint32_t)(status.threads - listed);
}

/* In rounds: whoever is not stopped yet may begin another thread. */
int tracees_stop(struct tracees *tracees, unsigned int timeout_ms)
{
	uint64_t until = now_ns() + timeout_ms * 1000000ull;
	int found;

	do {
		found = look_at_new(tracees);
		if (found < 0)
			return -1;
		await_stops(tracees, until);
	} while (found && now_ns() < until);
	give_late_ones_up(tracees);
	count_unlisted(tracees);
	return 0;
}

static int await_stop(struct tracees *tracees, const struct tracee *row, unsigned int timeout_ms)
{
	await_stops(tracees, now_ns() + timeout_ms * 1000000ull);
	give_late_ones_up(tracees);
	errno = row->state == TRACEE_LATE ? ETIMEDOUT : ESRCH;
	return row->state == TRACEE_STOPPED ? 0 : -1;
}

int tracees_stop_this(struct tracees *tracees, struct tracee *row, unsigned int timeout_ms)
{
	row->reason = REASON_NONE;
	return attach(row) ? -1 : await_stop(tracees, row, timeout_ms);
}

struct tracee *tracees_stop_any(struct tracees *tracees, unsigned int timeout_ms)
{
	struct task_list list = {.fd = tracees->tasks};
	pid_t tid;

	lseek(tracees->tasks, 0, SEEK_SET);
	while ((tid = next_task(&list)) > 0) {
		struct tracee *row = find_row(tracees, tid);

		if (row && row->state == TRACEE_LATE)
			continue;
		row = row ? row : add_row(tracees, tid);
		if (!row)
			return NULL;
		*row = (struct tracee){.tid = tid};
		if (!look_at(tracees, row) && row->state == TRACEE_ASKED &&
		    !await_stop(tracees, row, timeout_ms))
			return row;
	}
	return NULL;
}

/*
 * One in a call rather than one that computes, the main thread rather than another. A thread that
 * computes may be in a restartable sequence (rseq(2)), which a call in between would complete.
 */
struct tracee *tracees_choose(struct tracees *tracees)
{
	struct tracee *best = NULL;
	int most = 0;

	for (uint32_t i = 0; i < tracees->count; i++) {
		struct tracee *row = &tracees->rows[i];
		int worth = 1 + 2 * row->in_call + (row->tid == tracees->pid);

		if (row->state == TRACEE_STOPPED && worth > most) {
			most = worth;
			best = row;
		}
	}
	return best;
}

/* ------------------------------------------------------------------------------------- the end */

static bool has_run(const struct tracees *tracees, const struct tracee *row)
{
	struct thread_status status;
	struct thread_call call;

	return read_task_status(tracees->tasks, row->tid, &status) ||
	       read_task_call(tracees->tasks, row->tid, &call) ||
	       status.switches != row->switches || memcmp(&call, &row->call, sizeof(call));
}

void tracees_check(struct tracees *tracees)
{
	for (uint32_t i = 0; i < tracees->count; i++) {
		struct tracee *row = &tracees->rows[i];

		if (row->state != TRACEE_READ || !has_run(tracees, row))
			continue;
		row->state = TRACEE_MISSING;
		row->reason = REASON_RAN;
	}
}

static void let_go(const struct tracee *row)
{
	ptrace(PTRACE_DETACH, row->tid, NULL, NULL);
}

/* They stay STOPPED: that is what the core says of them. */
void tracees_release(struct tracees *tracees)
{
	for (uint32_t i = 0; i < tracees->count; i++)
		if (tracees->rows[i].state == TRACEE_STOPPED)
			let_go(&tracees->rows[i]);
}

/* At whatever it has stopped: a signal goes with it. */
static bool release_if_stopped(const struct tracee *row)
{
	int status;
	pid_t found = waitpid(row->tid, &status, ours);
	bool by_signal = found > 0 && WIFSTOPPED(status) && !(status >> 16);

	if (found > 0 && WIFSTOPPED(status))
		ptrace(PTRACE_DETACH, row->tid, NULL,
		       (void *)(uintptr_t)(by_signal ? WSTOPSIG(status) : 0));
	return found != 0;
}

uint32_t tracees_release_late(struct tracees *tracees)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < tracees->count; i++) {
		struct tracee *row = &tracees->rows[i];

		if (row->state != TRACEE_LATE)
			continue;
		if (release_if_stopped(row))
			row->state = TRACEE_MISSING;
		else
			left++;
	}
	return left;
}
