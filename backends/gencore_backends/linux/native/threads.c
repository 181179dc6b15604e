// SPDX-License-Identifier: Apache-2.0
/*
 * Stops every thread without ptrace, and without any of them noticing.
 *
 * A queued real-time signal makes each thread enter a handler, where it waits on a futex until the
 * clone is done; the kernel has put all its registers on its stack. What becomes of the system call
 * that it was in is decided by calls.c and undone by resume.c.
 *
 * Some calls cannot be resumed exactly, because nobody knows how much of their timeout is left, or
 * may not be interrupted at all, because they would return with a part of their data. A thread in
 * one of them is not signalled but read: /proc/self/task/TID/syscall tells the stack and program
 * counter of a blocked thread to its own process, and its count of context switches tells whether
 * it has run since.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch.h"
#include "borrowed_signal.h"
#include "calls.h"
#include "clock.h"
#include "memory_access.h"
#include "proc_text.h"
#include "resume.h"
#include "stoppable.h"
#include "threads.h"

enum {
	ROUNDS = 8,		  /* of looking for threads that started meanwhile */
	RETRIES = 20,
	RETRY_NS = 100000,
	CHECK_MS = 2,		  /* between two looks whether a thread that is awaited has ended */
	LOOK_AGAIN_MS = 10,
	STANDSTILL_MS = 60000,	  /* after which a thread goes on by itself, if it looks */
	MAIN_MS = 20,		  /* how long the others wait for the main thread's signals */
	FP_STATE = 16 * 1024,	  /* XSAVE needs 11 KiB with AMX */
};

/*
 * One for the process. A thread may enter the handler late, after we have stopped waiting for it:
 * so none of this is ever freed, and a thread's state carries the generation it belongs to.
 */
static struct {
	_Atomic uint32_t generation;	  /* odd while threads are stopped; a futex */
	_Atomic uint32_t main_generation; /* the same, for the main thread: it goes first */
	_Atomic uint32_t arrived;	  /* the futex that the caller waits on */
	_Atomic uint32_t expected;
	_Atomic uint32_t main_done; /* the main thread has its signals; a futex */
	struct thread *threads;
	uint32_t capacity;
	uint32_t count;		  /* of the capture in progress; 0 outside one */
	_Atomic uint32_t entries; /* into our handler, by any thread */
	int tasks;		/* /proc/self/task */
	int main_release;	/* an eventfd(2) that the main thread may wait for */
	int reserve;		/* given back when threads are looked at, which needs one */
	bool open;		/* the three above are */
	bool collides;		/* the application uses it after all */
	_Alignas(64) char caller_fp[FP_STATE];
} stopping;

static long futex(_Atomic uint32_t *word, int operation, uint32_t value,
		  const struct timespec *timeout)
{
	return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

static struct timespec milliseconds(unsigned int count)
{
	return (struct timespec){.tv_sec = count / 1000, .tv_nsec = count % 1000 * 1000000};
}

/* --------------------------------------------------------------------------- in the handler */

/* Wait until the word changes, or the standstill has lasted too long. Returns whether it has. */
static bool wait_for_release(_Atomic uint32_t *word, uint32_t generation)
{
	const uint64_t deadline = now_ns() + STANDSTILL_MS * 1000000ull;
	const struct timespec limit = milliseconds(STANDSTILL_MS);

	while (atomic_load(word) == generation) {
		futex(word, FUTEX_WAIT, generation, &limit);
		if (now_ns() >= deadline)
			return false;
	}
	return true;
}

/*
 * Wait with the mask of the interrupted code. ppoll(2) ends with EINTR if, and only if, a handler has
 * run, with SA_RESTART or without, like the calls that are never restarted. It looks again now and
 * then: if it was late, the descriptor may be closed by now.
 */
static bool wait_in_poll(uint32_t generation, const ucontext_t *context,
			 struct interrupted_call *call)
{
	const uint64_t deadline = now_ns() + STANDSTILL_MS * 1000000ull;
	const uint64_t mask = resume_mask(context);
	struct pollfd release = {.fd = stopping.main_release, .events = POLLIN};

	while (atomic_load(&stopping.main_generation) == generation) {
		struct timespec look_again = milliseconds(LOOK_AGAIN_MS);

		if (syscall(SYS_ppoll, &release, 1, &look_again, &mask, sizeof(mask)) < 0 &&
		    errno == EINTR)
			call->handled = true;
		if (now_ns() >= deadline)
			return false;
	}
	return true;
}

/*
 * The same, but a handler with SA_RESTART does not count, as in the calls that the kernel restarts.
 * That is so of a futex without a limit only: with one the kernel ends the wait after any handler
 * (ERESTART_RESTARTBLOCK in kernel/futex/waitwake.c).
 */
static void wait_in_futex(uint32_t generation, const ucontext_t *context,
			  struct interrupted_call *call)
{
	uint64_t held;

	while (atomic_load(&stopping.main_generation) == generation) {
		resume_run_handlers(call, context);
		held = resume_unblock(context);
		if (futex(&stopping.main_generation, FUTEX_WAIT, generation, NULL) &&
		    errno == EINTR)
			call->handled = true;
		syscall(SYS_rt_sigprocmask, SIG_SETMASK, &held, NULL, sizeof(held));
	}
}

/*
 * The main thread goes on taking signals, so that none of the process's goes to a thread that is
 * only read.
 */
static bool wait_with_signals(uint32_t generation, const ucontext_t *context,
			      struct interrupted_call *call)
{
	if (call->how != KERNEL_RESTARTS)
		return wait_in_poll(generation, context, call);
	wait_in_futex(generation, context, call);
	return true;
}

static void announce_arrival(void)
{
	if (atomic_fetch_add(&stopping.arrived, 1) + 1 >= atomic_load(&stopping.expected))
		futex(&stopping.arrived, FUTEX_WAKE, 1, NULL);
}

static void keep_caller_fp(const ucontext_t *context)
{
	const void *fp = arch_fp_state(context);
	size_t size = fp ? arch_fp_image_size(fp) : 0;

	if (size && size <= sizeof(stopping.caller_fp))
		memcpy(stopping.caller_fp, fp, size);
}

/* A signal of the process's goes to the first thread that unblocks it: leave it to the main one. */
static void let_main_go_first(const ucontext_t *context)
{
	const struct timespec glance = milliseconds(1);

	for (int i = 0; i < MAIN_MS && !atomic_load(&stopping.main_done); i++) {
		if (!resume_pending(context))
			return;
		futex(&stopping.main_done, FUTEX_WAIT, 0, &glance);
	}
}

static void stop_here(struct thread *thread, uint32_t generation, ucontext_t *context,
		      struct interrupted_call *call)
{
	uint32_t asked = generation << 8 | THREAD_ASKED;
	uint32_t stopped = generation << 8 | THREAD_STOPPED;

	/* A late one must not write into the row, which may be another thread's by now. */
	if (!atomic_compare_exchange_strong(&thread->state, &asked,
					    generation << 8 | THREAD_ARRIVES))
		return;
	thread->context = context;
	thread->tls = arch_thread_pointer();
	atomic_store(&thread->state, stopped);
	announce_arrival();
	if (thread_is_main(thread->tid) ? wait_with_signals(generation, context, call)
				 : wait_for_release(&stopping.generation, generation))
		return;
	if (atomic_compare_exchange_strong(&thread->state, &stopped,
					   generation << 8 | THREAD_MISSING))
		thread->reason = REASON_LEFT_EARLY;
}

static void stop_this_thread(struct thread *thread, uint32_t generation, ucontext_t *context)
{
	struct interrupted_call call;
	uint64_t begin = now_ns();
	bool first = thread_is_main(thread->tid);

	resume_examine(thread, context, &call);
	stop_here(thread, generation, context, &call);
	if (!first)
		let_main_go_first(context);
	resume_finish(&call, context, now_ns() - begin);
	if (first)
		threads_main_has_signals();
	resume_transfer(&call, context, &stopping.entries);
}

/* One that was given up; what we were asked for is over. */
static void go_on_at_once(ucontext_t *context)
{
	const struct thread unknown = {.tid = (pid_t)syscall(SYS_gettid)};
	struct interrupted_call call;

	resume_examine(&unknown, context, &call);
	resume_finish(&call, context, 0);
	resume_transfer(&call, context, &stopping.entries);
}

static void handle_signal(int number, siginfo_t *info, void *opaque)
{
	int saved = errno;
	uint64_t ticket = (uint64_t)(uintptr_t)info->si_value.sival_ptr;
	uint32_t generation = (uint32_t)(ticket >> 32);
	uint32_t index = (uint32_t)ticket;

	(void)number;
	if (info->si_code != SI_QUEUE || info->si_pid != getpid())
		return;
	atomic_fetch_add(&stopping.entries, 1);
	if (index == 0)
		keep_caller_fp(opaque);
	else if (atomic_load(&stopping.generation) == generation && index < stopping.count &&
		 stopping.threads[index].tid == (pid_t)syscall(SYS_gettid))
		stop_this_thread(&stopping.threads[index], generation, opaque);
	else
		go_on_at_once(opaque);
	errno = saved;
}

/* ------------------------------------------------------------------------- before the instant */

/* Room for twice the threads there are. What is outgrown stays: a late handler may look at it. */
static int make_room(uint32_t count)
{
	uint32_t capacity = stopping.capacity ? stopping.capacity : 64;
	void *memory;

	if (count * 2 <= stopping.capacity)
		return 0;
	while (capacity < count * 2)
		capacity *= 2;
	memory = mmap(NULL, capacity * sizeof(struct thread), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		return -1;
	madvise(memory, capacity * sizeof(struct thread), MADV_DONTDUMP);
	stopping.threads = memory;
	stopping.capacity = capacity;
	return 0;
}

static void close_descriptors(void)
{
	const int opened[] = {stopping.tasks, stopping.main_release, stopping.reserve};

	for (size_t i = 0; i < sizeof(opened) / sizeof(*opened); i++)
		if (opened[i] >= 0)
			close(opened[i]);
	stopping.tasks = stopping.main_release = stopping.reserve = -1;
	memory_close();
	stopping.open = false;
}

static int open_descriptors(void)
{
	int err;

	stopping.tasks = stopping.main_release = stopping.reserve = -1;
	stopping.open = true; /* a child of fork(2) closes what is there by then */
	if (memory_open()) {
		close_descriptors();
		return -1;
	}
	stopping.tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	stopping.main_release = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	stopping.reserve = fcntl(stopping.tasks, F_DUPFD_CLOEXEC, 0);
	if (stopping.tasks >= 0 && stopping.main_release >= 0 && stopping.reserve >= 0)
		return 0;
	err = errno == EBADF ? EMFILE : errno;
	close_descriptors();
	errno = err;
	return -1;
}

int threads_prepare(enum thread_mode mode)
{
	int count = count_tasks();

	if (count < 0 || make_room((uint32_t)count) || open_descriptors())
		return -1;
	return mode == THREADS_CALLER ? 0 : borrowed_signal_take(handle_signal);
}

/* ------------------------------------------------------------------------------- the instant */

static enum thread_reason send_signal(const struct thread *thread, uint32_t index)
{
	uint32_t generation = atomic_load(&stopping.generation);
	siginfo_t info = {.si_code = SI_QUEUE};

	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_ptr = (void *)(uintptr_t)((uint64_t)generation << 32 | index);
	if (!syscall(SYS_rt_tgsigqueueinfo, info.si_pid, thread->tid, borrowed_signal.number, &info))
		return REASON_NONE;
	return errno == ESRCH ? REASON_RAN : REASON_QUEUE_FULL;
}

static void set_state(struct thread *thread, enum thread_state state)
{
	atomic_store(&thread->state, atomic_load(&stopping.generation) << 8 | state);
}

/* Look at a thread's state. Returns 0, or -1 if that cannot be done; then its state says why. */
static int look_at(struct thread *thread, struct thread_status *ret)
{
	if (!read_task_status(stopping.tasks, thread->tid, ret))
		return 0;
	if (errno == ENOENT || errno == ESRCH) {
		set_state(thread, THREAD_ENDED);
	} else {
		set_state(thread, THREAD_MISSING);
		thread->reason = REASON_NOT_LOOKED_AT;
	}
	return -1;
}

/* Note where a blocked thread is. */
static void read_thread(struct thread *thread)
{
	struct thread_status status;

	if (look_at(thread, &status))
		return;
	set_state(thread, THREAD_MISSING);
	if (!read_task_call(stopping.tasks, thread->tid, &thread->call) && thread->call.sp) {
		thread->switches = status.switches;
		set_state(thread, THREAD_READ);
	}
}

/* Ask one thread to stop, or read it. */
static void take_thread(struct thread *thread, uint32_t index, enum thread_mode mode)
{
	struct thread_status status;

	if (look_at(thread, &status))
		return;
	thread->blocked = !read_task_call(stopping.tasks, thread->tid, &thread->call);
	if (thread_uses_our_signal(thread, &status)) {
		stopping.collides = true;
		return;
	}
	thread->reason = why_not_stop(thread, mode, &status);
	/* sigtimedwait(2) unblocks what it waits for; a thread that runs may just have left it */
	if (thread->reason == REASON_NONE && !thread->blocked && !look_at(thread, &status))
		thread->reason = why_not_stop(thread, mode, &status);
	thread->sleeps = status.voluntary;
	thread->delayed = borrowed_signal.delayed;
	if (thread->reason == REASON_NONE) {
		set_state(thread, THREAD_ASKED);
		atomic_fetch_add(&stopping.expected, 1);
		thread->reason = send_signal(thread, index);
		if (thread->reason == REASON_NONE)
			return;
		atomic_fetch_sub(&stopping.expected, 1);
	}
	if (thread->reason != REASON_NOT_LOOKED_AT)
		read_thread(thread);
}

static bool is_known(pid_t tid)
{
	for (uint32_t i = 0; i < stopping.count; i++)
		if (stopping.threads[i].tid == tid)
			return true;
	return false;
}

static void add_thread(pid_t tid)
{
	struct thread *thread = &stopping.threads[stopping.count++];

	memset(thread, 0, sizeof(*thread));
	thread->tid = tid;
}

/* Add the threads that are not in the table yet, the main one only *with_main*. */
static void add_new_threads(bool with_main)
{
	uint32_t before = stopping.count;
	struct task_list list = {.fd = stopping.tasks};
	pid_t tid;

	lseek(stopping.tasks, 0, SEEK_SET);
	while ((tid = next_task(&list)) > 0 && stopping.count < stopping.capacity)
		if ((with_main || !thread_is_main(tid)) && tid != stopping.threads[0].tid &&
		    !(before > 1 && is_known(tid)))
			add_thread(tid);
}

/*
 * Take the threads that are not in the table yet. Returns how many there were.
 *
 * The last one first: what a thread blocks by entering our handler, the kernel passes on to the next
 * one that does not, in the order of their creation, and after the last comes the main thread
 * (retarget_shared_pending() in kernel/signal.c). So a signal of the process that came at that
 * moment stays with the main thread, or goes back to it.
 */
static uint32_t take_new_threads(enum thread_mode mode, bool with_main)
{
	uint32_t before = stopping.count;

	add_new_threads(with_main);
	for (uint32_t i = stopping.count; i-- > before && !stopping.collides;) {
		if (mode == THREADS_CALLER) {
			stopping.threads[i].reason = REASON_NOT_ASKED;
			set_state(&stopping.threads[i], THREAD_MISSING);
		} else {
			take_thread(&stopping.threads[i], i, mode);
		}
	}
	return stopping.count - before;
}

/* Give up on one that was asked. A signal that is still on its way finds another generation. */
static void give_up(struct thread *thread, enum thread_state state)
{
	uint32_t generation = atomic_load(&stopping.generation) << 8;
	uint32_t asked = generation | THREAD_ASKED;

	if (!atomic_compare_exchange_strong(&thread->state, &asked, generation | state))
		return;
	thread->reason = REASON_NO_ANSWER;
	thread->unanswered = true;
	atomic_fetch_sub(&stopping.expected, 1);
}

static void give_up_all(void)
{
	for (uint32_t i = 1; i < stopping.count; i++) {
		struct thread *thread = &stopping.threads[i];

		if (thread_state(thread) == THREAD_ASKED)
			give_up(thread, THREAD_MISSING);
	}
}

/*
 * Stop waiting for those that will not come: they have ended, or were waking up from
 * sigtimedwait(2), which took our signal for its own.
 */
static void give_up_hopeless(void)
{
	struct thread_status status;

	for (uint32_t i = 1; i < stopping.count; i++) {
		struct thread *thread = &stopping.threads[i];

		if (thread_state(thread) != THREAD_ASKED)
			continue;
		if (!read_task_status(stopping.tasks, thread->tid, &status)) {
			if (status.state == 'S' && !(status.pending & signal_bit(borrowed_signal.number)))
				give_up(thread, THREAD_MISSING);
		} else if (errno == ENOENT || errno == ESRCH) {
			give_up(thread, THREAD_ENDED);
		}
	}
}

static bool is_worth_a_retry(const struct thread *thread)
{
	return thread_state(thread) == THREAD_MISSING &&
	       (thread->reason == REASON_BLOCKS_SIGNALS || thread->reason == REASON_NOT_LOOKED_AT);
}

/*
 * Ask once more those that run with signals blocked: that state mostly lasts for microseconds, in
 * pthread_create() or at the end of our own handler. And those that could not be looked at, for
 * want of a descriptor. Returns how many there are.
 */
static uint32_t take_again(enum thread_mode mode)
{
	const struct timespec moment = {.tv_nsec = RETRY_NS};
	uint32_t count = 0;

	for (uint32_t i = 1; i < stopping.count; i++) {
		if (!is_worth_a_retry(&stopping.threads[i]))
			continue;
		if (count++ == 0)
			syscall(SYS_nanosleep, &moment, NULL);
		take_thread(&stopping.threads[i], i, mode);
	}
	return count;
}

static void wait_for_arrivals(uint64_t deadline_ns)
{
	const struct timespec while_waiting = milliseconds(CHECK_MS);
	uint32_t arrived;

	while ((arrived = atomic_load(&stopping.arrived)) < atomic_load(&stopping.expected)) {
		futex(&stopping.arrived, FUTEX_WAIT, arrived, &while_waiting);
		if (atomic_load(&stopping.arrived) != arrived)
			continue;
		give_up_hopeless();
		if (now_ns() >= deadline_ns)
			give_up_all();
	}
}

/*
 * The main thread comes last, and goes first: as long as it can, it takes the process's signals,
 * and its call ends with EINTR as ever.
 */
static void take_all(enum thread_mode mode, uint64_t deadline_ns)
{
	for (int round = 0; round < ROUNDS && take_new_threads(mode, round > 0); round++)
		wait_for_arrivals(deadline_ns);
	if (stopping.count == 1 && take_new_threads(mode, true))
		wait_for_arrivals(deadline_ns);
	for (int retry = 0; retry < RETRIES && !stopping.collides && take_again(mode); retry++)
		wait_for_arrivals(deadline_ns);
	wait_for_arrivals(deadline_ns);
}

/* Read again what was read, now that all others stand still. */
static void reread_threads(void)
{
	for (uint32_t i = 1; i < stopping.count; i++) {
		struct thread *thread = &stopping.threads[i];
		enum thread_state state = thread_state(thread);

		if (state == THREAD_READ || state == THREAD_MISSING)
			read_thread(thread);
	}
}

/* How many more threads the kernel counts than there are in the table. */
static uint32_t count_unlisted(void)
{
	int counted = count_tasks();
	int listed = 0;

	for (uint32_t i = 0; i < stopping.count; i++)
		listed += thread_state(&stopping.threads[i]) != THREAD_ENDED;
	return counted > listed ? (uint32_t)(counted - listed) : 0;
}

/*
 * One that is not stopped may start another behind our back. Returns how many are still missing in
 * the table.
 */
static uint32_t take_late_starters(enum thread_mode mode, uint64_t deadline_ns)
{
	uint32_t unlisted = 0;

	for (int round = 0; round < ROUNDS && (unlisted = count_unlisted()); round++) {
		take_new_threads(mode, true);
		wait_for_arrivals(deadline_ns);
	}
	return unlisted;
}

static void begin_stop(void)
{
	uint32_t generation = atomic_load(&stopping.generation) + 1;
	eventfd_t released;

	eventfd_read(stopping.main_release, &released); /* of an attempt before */

	stopping.collides = false;
	atomic_store(&stopping.arrived, 0);
	atomic_store(&stopping.expected, 0);
	atomic_store(&stopping.main_done, 1);
	atomic_store(&stopping.main_generation, generation);
	atomic_store(&stopping.generation, generation);
	memset(stopping.caller_fp, 0, sizeof(stopping.caller_fp));
	memset(&stopping.threads[0], 0, sizeof(struct thread));
	stopping.threads[0].tid = (pid_t)syscall(SYS_gettid);
	stopping.count = 1;
	set_state(&stopping.threads[0], THREAD_STOPPED);
}

static void put_back_disposition(void);

/* Stop them by a signal that nobody uses. Returns 0, or -1 with errno set and nobody stopped. */
static int stop_by_free_signal(enum thread_mode mode, uint64_t deadline_ns)
{
	for (;;) {
		begin_stop();
		take_all(mode, deadline_ns);
		if (!stopping.collides)
			return 0;
		give_up_all();
		threads_release();
		borrowed_signal_avoid();
		put_back_disposition();
		errno = EBUSY;
		if (borrowed_signal.kept || borrowed_signal_take(handle_signal))
			return -1;
	}
}

static int share_marks(struct thread_table *table)
{
	void *memory = mmap(NULL, table->count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);

	if (memory == MAP_FAILED)
		return -1;
	madvise(memory, table->count, MADV_DONTDUMP);
	table->moved = memory;
	table->moved_size = table->count;
	return 0;
}

/* The caller's own floating-point state, by way of the handler. */
static void capture_caller_fp(void)
{
	uint64_t ours = signal_bit(borrowed_signal.number);

	syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &ours, NULL, sizeof(ours));
	send_signal(&stopping.threads[0], 0);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &ours, NULL, sizeof(ours));
}

int threads_stop(enum thread_mode mode, unsigned int timeout_ms, struct thread_table *ret)
{
	const uint64_t deadline = now_ns() + timeout_ms * 1000000ull;
	uint32_t unlisted;

	close(stopping.reserve);
	stopping.reserve = -1;
	if (stop_by_free_signal(mode, deadline))
		return -1;
	unlisted = take_late_starters(mode, deadline);
	if (mode != THREADS_CALLER) {
		reread_threads();
		capture_caller_fp();
	}
	*ret = (struct thread_table){.threads = stopping.threads,
				     .count = stopping.count,
				     .unlisted = unlisted,
				     .caller_fp = stopping.caller_fp};
	if (!share_marks(ret))
		return 0;
	threads_release();
	return -1;
}

/*
 * Whether a thread is where it was read. One that was woken has no more context switches until it
 * leaves the processor again; that it has got there is counted in schedstat, and while it waits
 * for one, both are the same.
 */
static bool is_where_it_was(const struct thread *thread)
{
	struct thread_status status;
	uint64_t arrivals;

	if (read_task_status(stopping.tasks, thread->tid, &status) ||
	    status.switches != thread->switches)
		return false;
	return status.state != 'R' ||
	       (!read_task_arrivals(stopping.tasks, thread->tid, &arrivals) &&
		arrivals == status.switches);
}

void threads_check(struct thread_table *table)
{
	for (uint32_t i = 1; i < table->count; i++) {
		struct thread *thread = &table->threads[i];

		if (thread_state(thread) != THREAD_READ || is_where_it_was(thread))
			continue;
		atomic_store(&table->moved[i], 1);
		thread->reason = REASON_RAN;
		set_state(thread, THREAD_MISSING);
	}
}

void clone_threads_checked(const struct thread_table *table)
{
	for (uint32_t i = 1; i < table->count; i++)
		if (atomic_load(&table->moved[i]))
			set_state(&table->threads[i], THREAD_MISSING);
	syscall(SYS_munmap, table->moved, table->moved_size); /* it is no part of the image */
}

bool clone_threads_stood_still(const struct thread_table *table)
{
	bool still = !table->unlisted;

	for (uint32_t i = 1; i < table->count; i++) {
		enum thread_state state = thread_state(&table->threads[i]);

		still = still && (state == THREAD_STOPPED || state == THREAD_READ ||
				  state == THREAD_ENDED);
	}
	return still;
}

void threads_release(void)
{
	uint32_t generation = atomic_load(&stopping.generation) + 1;

	atomic_store(&stopping.main_done, 0);
	atomic_store(&stopping.main_generation, generation);
	futex(&stopping.main_generation, FUTEX_WAKE, 1, NULL);
	eventfd_write(stopping.main_release, 1);
	atomic_store(&stopping.generation, generation);
	futex(&stopping.generation, FUTEX_WAKE, INT_MAX, NULL);
}

void threads_main_has_signals(void)
{
	atomic_store(&stopping.main_done, 1);
	futex(&stopping.main_done, FUTEX_WAKE, INT_MAX, NULL);
}

/* -------------------------------------------------------------------------- after the instant */

static bool main_is_stopped(void)
{
	for (uint32_t i = 1; i < stopping.count; i++)
		if (thread_is_main(stopping.threads[i].tid))
			return thread_state(&stopping.threads[i]) == THREAD_STOPPED;
	return false;
}

/* Whether a signal waits for the main thread that this one would take, having restored *mask*. */
static bool main_will_take(uint64_t mask)
{
	uint64_t pending = 0;
	struct thread_status status;

	if (syscall(SYS_rt_sigpending, &pending, sizeof(pending)) || !(pending & ~mask))
		return false;
	return !read_task_status(stopping.tasks, getpid(), &status) && status.state != 'Z' &&
	       pending & ~mask & ~status.blocked & status.shared_pending;
}

void threads_yield_signals(uint64_t mask)
{
	const uint64_t deadline = now_ns() + MAIN_MS * 1000000ull;
	const struct timespec limit = milliseconds(MAIN_MS);
	const struct timespec moment = {.tv_nsec = RETRY_NS / 2};

	if (thread_is_main(stopping.threads[0].tid))
		return;
	while (main_is_stopped() && !atomic_load(&stopping.main_done) && now_ns() < deadline)
		futex(&stopping.main_done, FUTEX_WAIT, 0, &limit);
	while (main_will_take(mask) && now_ns() < deadline)
		syscall(SYS_nanosleep, &moment, NULL);
	threads_main_has_signals();
}

/*
 * Whether our signal may still be queued to a thread that was given up, in this capture or, if the
 * handler was kept, in an earlier one. What cannot be looked at may have it.
 */
static bool is_still_queued(void)
{
	struct thread_status status;

	for (uint32_t i = 1; i < stopping.count; i++) {
		const struct thread *thread = &stopping.threads[i];

		if (!thread->unanswered && !borrowed_signal.kept)
			continue;
		if (read_task_status(stopping.tasks, thread->tid, &status)) {
			if (errno != ENOENT && errno != ESRCH)
				return true;
		} else if (status.pending & signal_bit(borrowed_signal.number)) {
			return true;
		}
	}
	return false;
}

static void put_back_disposition(void)
{
	if (borrowed_signal.number && (stopping.count || !borrowed_signal.kept))
		borrowed_signal_give_back(is_still_queued());
}

void threads_finish(struct thread_table *table)
{
	put_back_disposition();
	if (table->moved)
		munmap((void *)table->moved, table->moved_size);
	table->moved = NULL;
	stopping.count = 0;
	if (stopping.open)
		close_descriptors();
}

void threads_after_fork(void)
{
	struct thread_table none = {.count = 0};

	stopping.count = 0;
	borrowed_signal.kept = false; /* what was queued is not inherited */
	atomic_store(&stopping.generation, (atomic_load(&stopping.generation) + 1) & ~1u);
	threads_finish(&none);
}
