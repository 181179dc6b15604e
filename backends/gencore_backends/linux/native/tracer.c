// SPDX-License-Identifier: Apache-2.0
/*
 * The tracer is a thread of its own: ptrace(2) binds tracees to a thread and not to its process,
 * and the thread that asks for a dump may end before the core is written.
 */
#define _GNU_SOURCE
#include "tracer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "injection.h"
#include "kernel_abi.h"
#include "left_clones.h"

enum {
	STACK = 256 << 10,
	LATE_LOOK_MS = 5,
	CHILD_PATIENCE_S = 10,
};

/* What the thread needs after its result has been handed over. */
struct tracer {
	struct trace *trace; /* the caller's, until described */
	struct tracees tracees;
	sem_t ready;	 /* the trace is filled in */
	sem_t described; /* and has been read */
	pid_t child;	    /* as this process sees it */
	pid_t child_inside; /* as its parent does */
	struct found_code code;
	struct borrowed borrowed;
	int control;
	int done;
};

static int failed(struct trace *trace, enum trace_step step)
{
	trace->failed = true;
	trace->step = step;
	trace->err = errno;
	return -1;
}

/* ------------------------------------------------------------------------------------ the clone */

/*
 * No exit signal, as in instant.c, but a mark. CLONE_FILES: no descriptor is copied, as the clone is to have
 * none.
 */
static int inject_clone(struct tracer *tracer, struct tracee *tracee)
{
	struct injected_call call = {.number = SYS_clone, .args = {CLONE_FILES | MARK_OF_CLONES}};

	if (injection_run(&tracer->tracees, tracee, &tracer->code, &call, &tracer->borrowed))
		return failed(tracer->trace, TRACE_INJECT);
	if (call.result <= 0 || !call.child) {
		errno = call.result < 0 ? (int)-call.result : ESRCH;
		return failed(tracer->trace, TRACE_CLONE);
	}
	tracer->child = call.child;
	tracer->child_inside = (pid_t)call.result;
	return 0;
}

/* If all are only read, one has to be stopped: nobody else could make the call. */
static struct tracee *choose(struct tracees *tracees, unsigned int timeout_ms)
{
	errno = ETIMEDOUT;
	for (uint32_t i = 0; !tracees_choose(tracees) && i < tracees->count; i++)
		if (tracees->rows[i].state == TRACEE_READ)
			tracees_stop_this(tracees, &tracees->rows[i], timeout_ms);
	return tracees_choose(tracees);
}

/* Threads stand still from the first line to the last. */
static int stop_and_clone(struct tracer *tracer)
{
	struct trace *trace = tracer->trace;
	uint64_t begin = now_ns(), stopped, cloned;
	struct tracee *tracee;
	int result;

	if (tracees_stop(&tracer->tracees, trace->timeout_ms))
		return failed(trace, errno == EPERM ? TRACE_ATTACH : TRACE_STOP);
	tracee = choose(&tracer->tracees, trace->timeout_ms);
	stopped = now_ns();
	result = tracee ? inject_clone(tracer, tracee) : failed(trace, TRACE_CHOOSE);
	tracees_check(&tracer->tracees);
	cloned = now_ns();
	tracees_release(&tracer->tracees);
	trace->stop_ns = stopped - begin;
	trace->clone_ns = cloned - stopped;
	trace->release_ns = now_ns() - cloned;
	return result;
}

/* It stands in its first stop, before its first instruction, and stays there until it is killed. */
static int hold_child(struct tracer *tracer)
{
	uint64_t until = now_ns() + CHILD_PATIENCE_S * 1000000000ull;
	int status = tracee_wait(tracer->child, until);

	if (status < 0 || !WIFSTOPPED(status)) {
		errno = status < 0 ? ETIMEDOUT : ESRCH;
		return failed(tracer->trace, TRACE_CHILD);
	}
	ptrace(PTRACE_SETOPTIONS, tracer->child, NULL,
	       (void *)(uintptr_t)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD));
	injection_close_descriptors(tracer->child, &tracer->code, &tracer->borrowed);
	if (injection_give_back(tracer->child, &tracer->borrowed))
		return failed(tracer->trace, TRACE_CHILD);
	return 0;
}

static int take(struct tracer *tracer)
{
	struct trace *trace = tracer->trace;

	if (tracees_open(trace->pid, trace->all, &tracer->tracees))
		return failed(trace, TRACE_ATTACH);
	if (injection_find_code(trace->pid, &tracer->code))
		return failed(trace, errno == ENOEXEC ? TRACE_FIND_CODE : TRACE_ATTACH);
	if (stop_and_clone(tracer))
		return -1;
	return hold_child(tracer);
}

/* -------------------------------------------------------------------------------------- the end */

static void kill_child(const struct tracer *tracer)
{
	uint64_t until = now_ns() + CHILD_PATIENCE_S * 1000000000ull;
	int status;

	kill(tracer->child, SIGKILL);
	do
		status = tracee_wait(tracer->child, until);
	while (status >= 0 && WIFSTOPPED(status));
}

static void serve(struct tracer *tracer)
{
	struct pollfd control = {.fd = tracer->control, .events = POLLIN};

	while (poll(&control, 1, tracees_release_late(&tracer->tracees) ? LATE_LOOK_MS : -1) <= 0)
		;
}

static void finish(struct tracer *tracer)
{
	char reaped = 0;

	if (tracer->child) {
		kill_child(tracer);
		reaped = (char)reap_in(tracer->tracees.pid, tracer->child_inside, &tracer->code);
	}
	if (write(tracer->done, &reaped, 1) < 0) {
		/* nobody waits for it */
	}
}

/* Not sem_wait(3) alone: a handler of the application may interrupt it. */
static void await(sem_t *semaphore)
{
	while (sem_wait(semaphore))
		;
}

static void *run(void *argument)
{
	struct tracer *tracer = argument;
	bool taken = !take(tracer);

	tracer->trace->tracees = &tracer->tracees;
	tracer->trace->child = tracer->child;
	sem_post(&tracer->ready);
	await(&tracer->described);
	if (taken)
		serve(tracer);
	finish(tracer);
	close(tracer->control);
	close(tracer->done);
	injection_give_back(0, &tracer->borrowed);
	tracees_close(&tracer->tracees);
	free(tracer);
	return NULL;
}

/* ------------------------------------------------------------------------------------ the caller */

/* It takes no signals: they are the application's. */
static int start(struct tracer *tracer)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	int err;

	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&thread, &attributes, run, tracer);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	errno = err;
	return err ? -1 : 0;
}

static struct tracer *new_tracer(struct trace *trace)
{
	struct tracer *tracer = calloc(1, sizeof(*tracer));
	int control[2], done[2];

	if (!tracer || pipe2(control, O_CLOEXEC))
		return free(tracer), NULL;
	if (pipe2(done, O_CLOEXEC)) {
		close(control[0]);
		close(control[1]);
		return free(tracer), NULL;
	}
	sem_init(&tracer->ready, 0, 0);
	sem_init(&tracer->described, 0, 0);
	tracer->trace = trace;
	tracer->tracees = (struct tracees){.tasks = -1, .pidfd = -1};
	tracer->control = control[0];
	tracer->done = done[1];
	trace->control = control[1];
	trace->done = done[0];
	return tracer;
}

int trace_take(struct trace *trace)
{
	struct tracer *tracer = new_tracer(trace);

	if (!tracer)
		return failed(trace, TRACE_START);
	if (start(tracer)) {
		failed(trace, TRACE_START);
		close(trace->control);
		close(trace->done);
		close(tracer->control);
		close(tracer->done);
		free(tracer);
		return -1;
	}
	trace->described = &tracer->described;
	await(&tracer->ready);
	return trace->failed ? -1 : 0;
}

void trace_described(struct trace *trace, bool keep)
{
	char byte = 0;

	sem_post(trace->described);
	if (keep)
		return;
	if (write(trace->control, &byte, 1) == 1 || trace->failed)
		while (read(trace->done, &byte, 1) < 0 && errno == EINTR)
			;
	close(trace->control);
	close(trace->done);
}
