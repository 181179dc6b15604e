// SPDX-License-Identifier: Apache-2.0
/*
 * Everything here but triggers_set() runs without the GIL, takes no lock and allocates by mmap. The
 * state belongs to the agent's thread; others only ask, through atomics and an eventfd(2).
 */
#define _GNU_SOURCE
#include "triggers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "conditions.h"
#include "descriptors.h"
#include "own_descriptor.h"
#include "text.h"

enum {
	LOOK_MS = 250,	   /* between two looks */
	ASKED_TEXT = 512,  /* bytes, of which the last is zero */
	GLANCE_NS = 2000000,
	RETRY_NS = 1000000000, /* after a process that could not be started */
};

/* Of one trigger, since it was set, or the process forked. */
struct history {
	uint64_t fired;	  /* how often */
	uint64_t next_ns; /* not before that */
	uint64_t held_ns; /* it has been above for so long */
	bool above;
	bool done;   /* it has fired, and has been above ever since */
	bool failed; /* the last time, for want of a process */
	_Atomic bool asked;
};

static struct {
	struct trigger rows[TRIGGERS];
	struct history histories[TRIGGERS];
	size_t count;
	bool looks; /* there is something that has to be looked at */
	uint64_t next_ns;
	struct cgroup_files files;
	struct requester requester;
	int requester_fd; /* positive while one works */
	int turn_fd;	  /* positive while other processes of the cgroup wait for its end */
	_Atomic int asked_fd;
	struct own_descriptor asked; /* the same; set before it */
	char asked_text[ASKED_TEXT];
	_Atomic uint64_t exceptions; /* for which a dump was asked */
	_Atomic uint64_t settled;    /* those of them that nobody has to wait for any more */
	uint64_t answered;	     /* those of them for which a requester was started last */
} triggers;

const char *const trigger_names[TRIGGER_KINDS] = {
	[MEMORY_SHARE] = "memory-share",
	[MEMORY_SIZE] = "memory-size",
	[GIL_STALL] = "gil",
	[LOOP_STALL] = "loop",
	[ASKED_BY_SIGNAL] = "signal",
	[ASKED_BY_EXCEPTION] = "exception",
	[CPU_SHARE] = "cpu",
	[THREAD_COUNT] = "threads",
	[DESCRIPTOR_COUNT] = "descriptors",
};

/* What the reason begins with. */
static const char *const titles[TRIGGER_KINDS] = {
	[MEMORY_SHARE] = "memory",
	[MEMORY_SIZE] = "memory",
	[GIL_STALL] = "GIL",
	[LOOP_STALL] = "event loop",
	[ASKED_BY_SIGNAL] = "signal",
	[ASKED_BY_EXCEPTION] = "unhandled exception",
	[CPU_SHARE] = "CPU",
	[THREAD_COUNT] = "threads",
	[DESCRIPTOR_COUNT] = "descriptors",
};

static bool is_asked_for(const struct trigger *trigger)
{
	return trigger->kind == ASKED_BY_SIGNAL || trigger->kind == ASKED_BY_EXCEPTION;
}

/* ------------------------------------------------------------------------------ who asks for it */

static void wake(void)
{
	const uint64_t one = 1;
	int fd = triggers_asked_fd();

	if (fd > 0)
		while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
}

static void ask(enum trigger_kind kind, uint64_t above)
{
	for (size_t i = 0; i < triggers.count; i++)
		if (triggers.rows[i].kind == kind && triggers.rows[i].above == above)
			atomic_store(&triggers.histories[i].asked, true);
	wake();
}

static void on_signal(int number)
{
	int before = errno;

	ask(ASKED_BY_SIGNAL, (uint64_t)number);
	errno = before;
}

/* Returns 0, or -1 with errno set. */
static int take_signal(int number)
{
	struct sigaction action, ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};

	if (sigaction(number, NULL, &action))
		return -1;
	errno = EBUSY;
	if (action.sa_flags & SA_SIGINFO ||
	    (action.sa_handler != SIG_DFL && action.sa_handler != on_signal))
		return -1;
	return sigaction(number, &ours, NULL);
}

static void give_signal_back(int number)
{
	struct sigaction action;

	if (!sigaction(number, NULL, &action) && action.sa_handler == on_signal)
		signal(number, SIG_DFL);
}

void triggers_ask(const char *text, uint64_t limit_ms)
{
	const struct timespec glance = {.tv_nsec = GLANCE_NS};
	uint64_t end = now_ns() + limit_ms * 1000000;
	bool found = false;
	uint64_t own;

	for (size_t i = 0; i < triggers.count; i++)
		found |= triggers.rows[i].kind == ASKED_BY_EXCEPTION;
	if (!found)
		return;
	strncpy(triggers.asked_text, text, ASKED_TEXT - 1);
	own = atomic_fetch_add(&triggers.exceptions, 1) + 1;
	ask(ASKED_BY_EXCEPTION, 0);
	while (atomic_load(&triggers.settled) < own && now_ns() < end)
		nanosleep(&glance, NULL);
}

/* ------------------------------------------------------------------------------------- firing */

/* One line, unless the other end does not read. */
static void log_line(const struct text *seen, const char *outcome, uint64_t number, uint64_t of)
{
	struct text line = {.data = NULL};
	struct pollfd row = {.fd = requester_messages(&triggers.requester), .events = POLLOUT};

	text_add(&line, "gencore: ");
	text_add_bytes(&line, seen->data, strlen(seen->data));
	text_add(&line, outcome);
	text_add_number(&line, number);
	if (of) {
		text_add(&line, " of ");
		text_add_number(&line, of);
		text_add(&line, ")");
	}
	text_add(&line, "\n");
	if (line.data && poll(&row, 1, 0) == 1 && row.revents & POLLOUT &&
	    write(row.fd, line.data, line.size) < 0)
		(void)errno; /* nobody is left to be informed */
	text_free(&line);
}

/*
 * All workers of a service exceed its cgroup's limit in the same moment, and their dumps together
 * would need more than is left. So they are made one after the other: who has the lock is first.
 */
static bool take_turn(const struct trigger *trigger)
{
	int fd;

	if (trigger->kind != MEMORY_SHARE || !*triggers.files.usage)
		return true;
	fd = above_standard_streams(open(triggers.files.usage, O_RDONLY | O_CLOEXEC));
	if (fd < 0)
		return true;
	if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) {
		close(fd);
		return false;
	}
	triggers.turn_fd = fd;
	return true;
}

static void end_turn(void)
{
	if (triggers.turn_fd > 0)
		close(triggers.turn_fd);
	triggers.turn_fd = 0;
}

/* As `gencore dump --fired` takes it: the name, the threshold and what was measured. */
static void add_fired(struct text *text, const struct trigger *trigger, uint64_t measured)
{
	text_add(text, trigger_names[trigger->kind]);
	text_add(text, " ");
	text_add_number(text, trigger->above);
	text_add(text, " ");
	text_add_number(text, measured);
	text_add_bytes(text, "", 1);
}

/* Returns a pidfd, or -1 with errno set. */
static int start_requester(const struct trigger *trigger, uint64_t measured,
			   const struct text *seen)
{
	struct text fired = {.data = NULL};
	int pidfd = -1, err = ENOMEM;

	add_fired(&fired, trigger, measured);
	if (fired.data) {
		pidfd = requester_start(&triggers.requester, fired.data, seen->data);
		pidfd = above_standard_streams(pidfd);
		err = errno;
	}
	text_free(&fired);
	errno = err;
	return pidfd;
}

/* Where no process can be started it is tried again: that is no dump, and said once. */
static void fire(const struct trigger *trigger, struct history *history, uint64_t measured,
		 const struct text *seen)
{
	int pidfd = start_requester(trigger, measured, seen);
	int err = errno;

	if (pidfd < 0) {
		history->next_ns = now_ns() + RETRY_NS;
		if (!history->failed)
			log_line(seen, ": not dumped: no process can be started: errno ",
				 (uint64_t)err, 0);
		history->failed = true;
		end_turn();
		return;
	}
	history->fired++;
	history->next_ns = now_ns() + trigger->interval_ns;
	history->done = true;
	history->failed = false;
	triggers.requester_fd = pidfd;
	log_line(seen, ": dump started (", history->fired, trigger->count);
}

/* Whether the number of dumps and the time since the last one allow another. */
static bool may_fire(const struct trigger *trigger, const struct history *history)
{
	return history->fired < trigger->count && now_ns() >= history->next_ns;
}

static void begin_text(struct text *seen, const struct trigger *trigger)
{
	text_add(seen, titles[trigger->kind]);
	text_add(seen, ": ");
}

static void look_at(const struct trigger *trigger, struct history *history, const struct look *look)
{
	struct text seen = {.data = NULL};
	bool before = history->above;
	uint64_t measured;

	begin_text(&seen, trigger);
	measured = condition_measure(trigger->kind, look, &seen);
	text_add_bytes(&seen, "", 1);
	history->above = measured >= trigger->above;
	history->held_ns = history->above && before ? history->held_ns + look->elapsed_ns : 0;
	history->done &= history->above;
	history->failed &= history->above;
	if (seen.data && history->above && !history->done && history->held_ns >= trigger->hold_ns &&
	    triggers.requester_fd <= 0 && may_fire(trigger, history) && take_turn(trigger))
		fire(trigger, history, measured, &seen);
	text_free(&seen);
}

/* Let those go on that wait for an exception with this number, or an earlier one. */
static void settle(uint64_t exception)
{
	if (exception > atomic_load(&triggers.settled))
		atomic_store(&triggers.settled, exception);
}

/* A dump that is in progress is waited for; the bounds refuse, and say so. */
static void answer_asked(const struct trigger *trigger, struct history *history)
{
	struct text seen = {.data = NULL};

	if (triggers.requester_fd > 0 || !atomic_exchange(&history->asked, false))
		return;
	if (trigger->kind == ASKED_BY_EXCEPTION)
		triggers.answered = atomic_load(&triggers.exceptions);
	begin_text(&seen, trigger);
	if (trigger->kind == ASKED_BY_SIGNAL)
		text_add_number(&seen, trigger->above);
	else
		text_add(&seen, triggers.asked_text);
	text_add_bytes(&seen, "", 1);
	if (history->failed) {
		history->failed = false;
		history->next_ns = 0; /* nothing was dumped then */
	}
	if (seen.data && may_fire(trigger, history))
		fire(trigger, history, 0, &seen);
	else if (seen.data)
		log_line(&seen, ": not dumped: interval or count; dumps so far: ", history->fired, 0);
	if (triggers.requester_fd <= 0)
		settle(triggers.answered);
	text_free(&seen);
}

/* ------------------------------------------------------------------------------- the agent's loop */

int triggers_asked_fd(void)
{
	int fd = atomic_load(&triggers.asked_fd);

	return own_is_lost(&triggers.asked) ? 0 : fd;
}

int triggers_requester_fd(void)
{
	return triggers.requester_fd;
}

int triggers_patience(void)
{
	uint64_t now = now_ns();

	if (!triggers.looks)
		return -1;
	return triggers.next_ns <= now ? 0 : (int)((triggers.next_ns - now) / 1000000 + 1);
}

static void look_at_all(void)
{
	struct look look;

	conditions_begin(&look, &triggers.files);
	for (size_t i = 0; i < triggers.count; i++)
		if (!is_asked_for(&triggers.rows[i]))
			look_at(&triggers.rows[i], &triggers.histories[i], &look);
	triggers.next_ns = now_ns() + LOOK_MS * 1000000ull;
}

void triggers_look(void)
{
	uint64_t asked;
	int fd = triggers_asked_fd();

	if (fd > 0 && read(fd, &asked, sizeof(asked)) < 0)
		(void)errno; /* EAGAIN: nobody has asked */
	for (size_t i = 0; i < triggers.count; i++)
		if (is_asked_for(&triggers.rows[i]))
			answer_asked(&triggers.rows[i], &triggers.histories[i]);
	if (triggers.looks && triggers.next_ns <= now_ns())
		look_at_all();
}

/* It is a child only of the first process of a PID namespace, or of a subreaper. */
void triggers_requester_ended(void)
{
	siginfo_t info;

	waitid(P_PIDFD, (id_t)triggers.requester_fd, &info, WEXITED | __WALL);
	close(triggers.requester_fd);
	triggers.requester_fd = 0;
	end_turn();
	settle(triggers.answered);
}

/* By whomever: what has asked by now is in the core. */
void triggers_captured(void)
{
	settle(atomic_load(&triggers.exceptions));
}

/* ---------------------------------------------------------------------------------- their life */

static void open_asked(void)
{
	triggers.asked = own_descriptor(
		above_standard_streams(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
	atomic_store(&triggers.asked_fd, triggers.asked.fd);
}

static void close_descriptors(void)
{
	atomic_store(&triggers.asked_fd, 0);
	own_close(&triggers.asked);
	if (triggers.requester_fd > 0)
		close(triggers.requester_fd);
	triggers.requester_fd = 0;
	end_turn();
}

static void begin(void)
{
	memset(triggers.histories, 0, sizeof(triggers.histories));
	triggers.next_ns = 0;
	triggers_captured();
	conditions_reset();
	if (triggers.count)
		open_asked();
}

/* Returns 0, or -1 with errno set if another handler has one of the signals. */
static int take_signals(void)
{
	for (size_t i = 0; i < triggers.count; i++)
		if (triggers.rows[i].kind == ASKED_BY_SIGNAL &&
		    take_signal((int)triggers.rows[i].above))
			return -1;
	return 0;
}

void triggers_end(void)
{
	close_descriptors();
	for (size_t i = 0; i < triggers.count; i++)
		if (triggers.rows[i].kind == ASKED_BY_SIGNAL)
			give_signal_back((int)triggers.rows[i].above);
	triggers.count = 0;
	triggers.looks = false;
	triggers_captured();
	requester_free(&triggers.requester);
}

int triggers_set(const struct trigger *rows, size_t count, const struct cgroup_files *files,
		 const struct requester *requester)
{
	int err;

	triggers_end();
	memcpy(triggers.rows, rows, count * sizeof(*rows));
	triggers.count = count;
	triggers.files = *files;
	triggers.requester = *requester;
	for (size_t i = 0; i < count; i++)
		triggers.looks |= !is_asked_for(&rows[i]);
	begin();
	if (!take_signals())
		return 0;
	err = errno;
	triggers_end();
	errno = err;
	return -1;
}

void triggers_after_fork(void)
{
	close_descriptors();
	begin();
}
