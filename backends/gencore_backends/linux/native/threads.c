// SPDX-License-Identifier: Apache-2.0
/*
 * Stops every thread without ptrace, and without any of them noticing.
 *
 * A queued real-time signal makes each thread enter a handler, where it waits on a futex until the
 * clone is done; the kernel has put all its registers on its stack. A blocking call must not
 * return EINTR because of that. With SA_RESTART the kernel resumes most calls by itself; where it
 * does not (signal(7)), the handler sets the context back onto the system call instruction.
 *
 * Some calls cannot be resumed exactly, because nobody knows how much of their timeout is left. A
 * thread in one of them is not signalled but read: /proc/self/task/TID/syscall tells the stack and
 * program counter of a blocked thread to its own process, and its count of context switches tells
 * whether it has run since.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch.h"
#include "clock.h"
#include "proc_text.h"
#include "threads.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

enum {
	HANDLER_STACK = 6 * 1024, /* of our handler and what it calls, generously */
	ROUNDS = 8,		  /* of looking for threads that started meanwhile */
	RETRIES = 20,
	RETRY_NS = 100000,
	CHECK_MS = 2,		  /* between two looks whether a thread that is awaited has ended */
	ALTERNATE_SEARCH = 32 * 1024,
	FP_STATE = 16 * 1024,	  /* XSAVE needs 11 KiB with AMX */
};

/*
 * One for the process. A thread may enter the handler late, after we have stopped waiting for it:
 * so none of this is ever freed, and a thread's state carries the generation it belongs to.
 */
static struct {
	_Atomic uint32_t generation; /* odd while threads are stopped; the futex they wait on */
	_Atomic uint32_t arrived;    /* the futex that the caller waits on */
	_Atomic uint32_t expected;
	struct thread *threads;
	uint32_t capacity;
	uint32_t count;
	int signal;
	struct sigaction before;
	_Alignas(64) char caller_fp[FP_STATE];
} stopping;

static long futex(_Atomic uint32_t *word, int operation, uint32_t value,
		  const struct timespec *timeout)
{
	return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

/* --------------------------------------------------------------------------- in the handler */

/* What our signal did to the thread's system call. */
enum interruption { NOT_IN_CALL, KERNEL_RESTARTS, SET_BACK };

static bool has_timeout(int fd, int option)
{
	struct timeval timeout = {0};
	socklen_t size = sizeof(timeout);

	return !getsockopt(fd, SOL_SOCKET, option, &timeout, &size) &&
	       (timeout.tv_sec || timeout.tv_usec);
}

/* Whether a call waits on a socket that has SO_RCVTIMEO or SO_SNDTIMEO, see socket(7). */
static bool has_socket_timeout(long number, int fd)
{
	switch (number) {
	case SYS_read:
	case SYS_readv:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_accept:
	case SYS_accept4:
		return has_timeout(fd, SO_RCVTIMEO);
	case SYS_write:
	case SYS_writev:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_connect:
		return has_timeout(fd, SO_SNDTIMEO);
	default:
		return false;
	}
}

/*
 * Whether a call ends with EINTR in spite of SA_RESTART: those of signal(7), "Interruption of
 * system calls and library functions by signal handlers". The EINTR of any other call belongs to
 * a signal of the application, whose handler has just returned.
 */
static bool is_never_restarted(long number, const ucontext_t *context)
{
	switch (number) {
#ifdef SYS_poll
	case SYS_poll:
	case SYS_select:
	case SYS_epoll_wait:
	case SYS_pause:
#endif
	case SYS_ppoll:
	case SYS_pselect6:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
	case SYS_rt_sigsuspend:
	case SYS_msgrcv:
	case SYS_msgsnd:
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_nanosleep:
	case SYS_clock_nanosleep:
	case SYS_io_getevents:
	case SYS_io_pgetevents:
		return true;
	case SYS_futex:
		return arch_argument(context, 3) != 0;
	default:
		return has_socket_timeout(number, (int)arch_argument(context, 0));
	}
}

/* Whether a call that is about to run is one that waits, and may end with EINTR. */
static bool may_return_eintr(long number, const ucontext_t *context)
{
	unsigned long second = arch_argument(context, 1);

	switch (number) {
#ifdef SYS_open
	case SYS_open:
#endif
	case SYS_openat:
	case SYS_read:
	case SYS_readv:
	case SYS_write:
	case SYS_writev:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_accept:
	case SYS_accept4:
	case SYS_connect:
	case SYS_wait4:
	case SYS_waitid:
	case SYS_flock:
	case SYS_mq_timedreceive:
	case SYS_mq_timedsend:
		return true;
	case SYS_fcntl:
		return second == F_SETLKW || second == F_OFD_SETLKW;
	case SYS_futex:
		second &= (unsigned long)FUTEX_CMD_MASK;
		return second == FUTEX_WAIT || second == FUTEX_WAIT_BITSET;
	default:
		return false;
	}
}

static bool page_holds(uintptr_t address, uintptr_t before)
{
	return (address & 4095) >= before;
}

/*
 * Undo an EINTR of ours. Where another signal is pending too, its handler was entered first, since
 * it has a lower number, and it is that handler which our context shows.
 */
static enum interruption resume_call(const struct thread *thread, ucontext_t *context,
				     long *ret_number)
{
	uintptr_t pc = arch_pc(context);
	bool same = thread->blocked && arch_sp(context) == thread->call.sp &&
		    arch_same_arguments(context, &thread->call);
	uintptr_t instruction = pc - ARCH_SYSCALL_SIZE;
	long number;

	if (arch_is_syscall(pc) && may_return_eintr(arch_next_number(context), context))
		return KERNEL_RESTARTS;
	if (arch_result(context) != -EINTR || !page_holds(pc, 16) || !arch_is_syscall(instruction))
		return NOT_IN_CALL;
	same = same && pc == thread->call.pc;
	number = same ? thread->call.number : arch_decode_number(instruction, arch_sp(context));
	if (!is_never_restarted(number, context))
		return NOT_IN_CALL;
	arch_set_back(context, number, &thread->call);
	*ret_number = number;
	return SET_BACK;
}

/*
 * Take the time that a thread was stopped off the time that its call has left. The kernel has
 * written that into the caller's structure (fs/select.c), from which the call will read it.
 */
static void shorten_timeout(long number, const ucontext_t *context, uint64_t stopped_ns)
{
	struct timespec *span = NULL;
	bool micro = false;
	int64_t unit, left;

#ifdef SYS_select
	micro = number == SYS_select; /* a struct timeval, which has the same shape */
#endif
	if (micro || number == SYS_pselect6)
		span = (void *)arch_argument(context, 4);
	else if (number == SYS_ppoll)
		span = (void *)arch_argument(context, 2);
	if (!span)
		return;
	unit = micro ? 1000 : 1;
	left = (int64_t)span->tv_sec * 1000000000 + span->tv_nsec * unit - (int64_t)stopped_ns;
	left = left > 0 ? left : 0;
	span->tv_sec = left / 1000000000;
	span->tv_nsec = left % 1000000000 / unit;
}

/* The signals that are pending for this thread; the process's own go to the main thread. */
static uint64_t pending_here(pid_t tid)
{
	uint64_t pending = 0;
	struct thread_status status;

	if (syscall(SYS_rt_sigpending, &pending, sizeof(pending)) || !pending)
		return 0;
	if (tid == getpid())
		return pending;
	return read_thread_status(AT_FDCWD, "/proc/thread-self/status", &status) ? 0
										 : status.pending;
}

static uint64_t blocked_by(const ucontext_t *context)
{
	uint64_t blocked;

	memcpy(&blocked, &context->uc_sigmask, sizeof(blocked));
	return blocked;
}

/*
 * A signal of the application that came while the thread was stopped would have ended its call
 * with EINTR. Its handler runs as soon as ours returns, and the call must still end that way.
 */
static bool application_interrupts(pid_t tid, const ucontext_t *context, enum interruption how)
{
	uint64_t pending = pending_here(tid) & ~blocked_by(context);
	struct sigaction action;

	for (int number = 1; pending; number++, pending >>= 1) {
		if (!(pending & 1) || sigaction(number, NULL, &action))
			continue;
		if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN)
			continue;
		if (how == SET_BACK || !(action.sa_flags & SA_RESTART))
			return true;
	}
	return false;
}

static void wait_for_release(uint32_t generation)
{
	while (atomic_load(&stopping.generation) == generation)
		futex(&stopping.generation, FUTEX_WAIT, generation, NULL);
}

static void tell_arrival(void)
{
	if (atomic_fetch_add(&stopping.arrived, 1) + 1 == atomic_load(&stopping.expected))
		futex(&stopping.arrived, FUTEX_WAKE, 1, NULL);
}

static void keep_caller_fp(const ucontext_t *context)
{
	const void *fp = arch_fp_state(context);
	size_t size = fp ? arch_fp_image_size(fp) : 0;

	if (size && size <= sizeof(stopping.caller_fp))
		memcpy(stopping.caller_fp, fp, size);
}

static void stop_this_thread(struct thread *thread, uint32_t generation, ucontext_t *context)
{
	uint32_t asked = generation << 8 | THREAD_ASKED;
	uint64_t begin = now_ns();
	long number = -1;
	enum interruption how = resume_call(thread, context, &number);

	thread->context = context;
	thread->tls = arch_thread_pointer();
	if (atomic_compare_exchange_strong(&thread->state, &asked,
					   generation << 8 | THREAD_STOPPED)) {
		tell_arrival();
		wait_for_release(generation);
	}
	shorten_timeout(number, context, now_ns() - begin);
	if (how != NOT_IN_CALL && application_interrupts(thread->tid, context, how))
		arch_return_eintr(context);
}

static void handle_signal(int number, siginfo_t *info, void *opaque)
{
	int saved = errno;
	uint64_t ticket = (uint64_t)(uintptr_t)info->si_value.sival_ptr;
	uint32_t generation = (uint32_t)(ticket >> 32);
	uint32_t index = (uint32_t)ticket;
	long call;

	(void)number;
	if (info->si_code != SI_QUEUE || info->si_pid != getpid())
		return;
	if (index == 0)
		keep_caller_fp(opaque);
	else if (atomic_load(&stopping.generation) == generation && index < stopping.count)
		stop_this_thread(&stopping.threads[index], generation, opaque);
	else
		resume_call(&(struct thread){.blocked = false}, opaque, &call);
	errno = saved;
}

/* ------------------------------------------------------------------------- before the instant */

static int find_free_signal(void)
{
	struct sigaction action;

	for (int number = SIGRTMAX - 1; number > SIGRTMIN; number--)
		if (!sigaction(number, NULL, &action) && !(action.sa_flags & SA_SIGINFO) &&
		    action.sa_handler == SIG_DFL)
			return number;
	errno = EBUSY;
	return -1;
}

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

int threads_prepare(enum thread_mode mode)
{
	struct sigaction action = {.sa_sigaction = handle_signal,
				   .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
	int count = count_tasks();

	if (make_room(count > 0 ? (uint32_t)count : 1))
		return -1;
	if (mode == THREADS_CALLER)
		return 0;
	stopping.signal = find_free_signal();
	if (stopping.signal < 0)
		return -1;
	sigfillset(&action.sa_mask);
	return sigaction(stopping.signal, &action, &stopping.before);
}

int threads_signal(void)
{
	return stopping.signal;
}

/* ------------------------------------------------------------------------------- the instant */

/*
 * Whether a call with these arguments, run again from its start, would wait longer than it was
 * asked to, or would take our signal as its result.
 */
static bool cannot_be_resumed(const struct thread_call *call)
{
	const unsigned long *args = call->args;

	switch (call->number) {
#ifdef SYS_poll
	case SYS_poll:
		return (int)args[2] > 0;
#endif
#ifdef SYS_epoll_wait
	case SYS_epoll_wait:
#endif
	case SYS_epoll_pwait:
		return (int)args[3] > 0;
	case SYS_epoll_pwait2:
	case SYS_semtimedop:
		return args[3] != 0;
	case SYS_io_getevents:
	case SYS_io_pgetevents:
	case SYS_recvmmsg:
		return args[4] != 0;
	case SYS_clock_nanosleep:
		return !(args[1] & TIMER_ABSTIME);
	case SYS_futex:
		return (args[1] & (unsigned long)FUTEX_CMD_MASK) == FUTEX_WAIT && args[3];
	case SYS_nanosleep:
	case SYS_rt_sigtimedwait: /* waits for signals, perhaps for all */
	case SYS_restart_syscall: /* was interrupted before: its number is lost */
		return true;
	default:
		return has_socket_timeout(call->number, (int)args[0]);
	}
}

/*
 * Whether memory can be read, without a fault: the kernel copies the set before it looks at the
 * first argument, which no version knows.
 */
static bool readable(uintptr_t address)
{
	return syscall(SYS_rt_sigprocmask, INT_MAX, address & ~7ul, NULL, 8) == 0 ||
	       errno == EINVAL;
}

/*
 * The lowest address of the alternate signal stack that a thread runs on, or 0. The signal frame
 * at its top tells; it begins where a handler returns to.
 */
static uintptr_t alternate_stack(uintptr_t sp)
{
	uintptr_t restorer = arch_restorer(stopping.signal);
	uintptr_t end = sp + ALTERNATE_SEARCH;

	for (uintptr_t at = sp & ~7ul; restorer && at < end; at += 8) {
		const stack_t *stack;

		if ((at % 4096 == 0 || at < sp + 8) && !readable(at + 4095 - at % 4096))
			return 0;
		if (*(const uintptr_t *)at != restorer)
			continue;
		stack = &((const ucontext_t *)(at + sizeof(restorer)))->uc_stack;
		if (sp - (uintptr_t)stack->ss_sp < stack->ss_size)
			return (uintptr_t)stack->ss_sp;
	}
	return 0;
}

/* The kernel kills a process whose signal frame does not fit. */
static bool has_room(uintptr_t sp)
{
	unsigned long frame = getauxval(AT_MINSIGSTKSZ);
	uintptr_t lowest = sp - HANDLER_STACK - (frame ? frame : 4096);
	uintptr_t alternate = alternate_stack(sp);

	if (alternate && lowest < alternate)
		return false;
	for (uintptr_t page = sp; page > lowest; page -= 4096)
		if (!readable(page))
			return false;
	return readable(lowest);
}

static bool blocks(const struct thread_status *status, int number)
{
	return status->blocked >> (number - 1) & 1;
}

/* Decide whether a thread can be stopped, from what /proc says of it just now. */
static enum thread_reason why_not_stop(const struct thread *thread, enum thread_mode mode,
				       const struct thread_status *status)
{
	if (blocks(status, stopping.signal))
		return REASON_BLOCKS_SIGNALS;
	if (status->state == 'D' || status->state == 'Z' || status->state == 'X')
		return REASON_UNINTERRUPTIBLE;
	if (!thread->blocked)
		return REASON_NONE;
	if (thread->call.number == SYS_rt_sigtimedwait)
		return REASON_BLOCKS_SIGNALS;
	if (mode == THREADS_AUTO && cannot_be_resumed(&thread->call))
		return REASON_REMAINING_TIME;
	return has_room(thread->call.sp) ? REASON_NONE : REASON_STACK_FULL;
}

static enum thread_reason send_signal(const struct thread *thread, uint32_t index)
{
	uint32_t generation = atomic_load(&stopping.generation);
	siginfo_t info = {.si_code = SI_QUEUE};

	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_ptr = (void *)(uintptr_t)((uint64_t)generation << 32 | index);
	if (!syscall(SYS_rt_tgsigqueueinfo, info.si_pid, thread->tid, stopping.signal, &info))
		return REASON_NONE;
	return errno == ESRCH ? REASON_RAN : REASON_QUEUE_FULL;
}

static void set_state(struct thread *thread, enum thread_state state)
{
	atomic_store(&thread->state, atomic_load(&stopping.generation) << 8 | state);
}

/* Note where a blocked thread is. */
static void read_thread(int tasks, struct thread *thread)
{
	struct thread_status status;

	set_state(thread, THREAD_MISSING);
	if (read_task_status(tasks, thread->tid, &status))
		set_state(thread, THREAD_ENDED);
	else if (!read_task_call(tasks, thread->tid, &thread->call) && thread->call.sp) {
		thread->switches = status.switches;
		set_state(thread, THREAD_READ);
	}
}

/* Ask one thread to stop, or read it. */
static void take_thread(int tasks, struct thread *thread, uint32_t index, enum thread_mode mode)
{
	struct thread_status status;

	if (read_task_status(tasks, thread->tid, &status)) {
		set_state(thread, THREAD_ENDED);
		return;
	}
	thread->blocked = !read_task_call(tasks, thread->tid, &thread->call);
	thread->reason = why_not_stop(thread, mode, &status);
	/* sigtimedwait(2) unblocks what it waits for; a thread that runs may just have left it */
	if (thread->reason == REASON_NONE && !thread->blocked &&
	    !read_task_status(tasks, thread->tid, &status))
		thread->reason = why_not_stop(thread, mode, &status);
	if (thread->reason == REASON_NONE) {
		set_state(thread, THREAD_ASKED);
		atomic_fetch_add(&stopping.expected, 1);
		thread->reason = send_signal(thread, index);
		if (thread->reason == REASON_NONE)
			return;
		atomic_fetch_sub(&stopping.expected, 1);
	}
	read_thread(tasks, thread);
}

static bool is_known(pid_t tid)
{
	for (uint32_t i = 0; i < stopping.count; i++)
		if (stopping.threads[i].tid == tid)
			return true;
	return false;
}

/* Take the threads that are not in the table yet. Returns how many there were. */
static uint32_t take_new_threads(int tasks, enum thread_mode mode)
{
	uint32_t before = stopping.count;
	struct task_list list = {.fd = tasks};
	pid_t tid;

	lseek(tasks, 0, SEEK_SET);
	while ((tid = next_task(&list)) > 0) {
		struct thread *thread = &stopping.threads[stopping.count];

		if ((before > 1 || tid == stopping.threads[0].tid) && is_known(tid))
			continue;
		if (stopping.count == stopping.capacity)
			break;
		memset(thread, 0, sizeof(*thread));
		thread->tid = tid;
		stopping.count++;
		if (mode == THREADS_CALLER) {
			thread->reason = REASON_NOT_ASKED;
			set_state(thread, THREAD_MISSING);
		} else {
			take_thread(tasks, thread, stopping.count - 1, mode);
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
static void give_up_hopeless(int tasks)
{
	uint64_t ours = 1ull << (stopping.signal - 1);
	struct thread_status status;

	for (uint32_t i = 1; i < stopping.count; i++) {
		struct thread *thread = &stopping.threads[i];

		if (thread_state(thread) != THREAD_ASKED)
			continue;
		if (read_task_status(tasks, thread->tid, &status))
			give_up(thread, THREAD_ENDED);
		else if (status.state == 'S' && !(status.pending & ours))
			give_up(thread, THREAD_MISSING);
	}
}

/*
 * Ask once more those that run with signals blocked: that state mostly lasts for microseconds, in
 * pthread_create() or at the end of our own handler. Returns how many there are.
 */
static uint32_t take_again(int tasks, enum thread_mode mode)
{
	const struct timespec moment = {.tv_nsec = RETRY_NS};
	uint32_t count = 0;

	for (uint32_t i = 1; i < stopping.count; i++) {
		struct thread *thread = &stopping.threads[i];

		if (thread_state(thread) != THREAD_MISSING ||
		    thread->reason != REASON_BLOCKS_SIGNALS)
			continue;
		if (count++ == 0)
			syscall(SYS_nanosleep, &moment, NULL);
		take_thread(tasks, thread, i, mode);
	}
	return count;
}

static void wait_for_arrivals(int tasks, uint64_t deadline_ns)
{
	const struct timespec while_waiting = {.tv_nsec = CHECK_MS * 1000000};
	uint32_t arrived;

	while ((arrived = atomic_load(&stopping.arrived)) < atomic_load(&stopping.expected)) {
		futex(&stopping.arrived, FUTEX_WAIT, arrived, &while_waiting);
		if (atomic_load(&stopping.arrived) != arrived)
			continue;
		give_up_hopeless(tasks);
		if (now_ns() >= deadline_ns)
			give_up_all();
	}
}

/* Read again what was read, now that all others stand still. */
static void reread_threads(int tasks)
{
	for (uint32_t i = 1; i < stopping.count; i++) {
		struct thread *thread = &stopping.threads[i];
		enum thread_state state = thread_state(thread);

		if (state == THREAD_READ || state == THREAD_MISSING)
			read_thread(tasks, thread);
	}
}

void threads_stop(enum thread_mode mode, unsigned int timeout_ms, struct thread_table *ret)
{
	uint64_t deadline = now_ns() + timeout_ms * 1000000ull;
	int tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	atomic_store(&stopping.arrived, 0);
	atomic_store(&stopping.expected, 0);
	atomic_fetch_add(&stopping.generation, 1);
	memset(&stopping.threads[0], 0, sizeof(struct thread));
	stopping.threads[0].tid = (pid_t)syscall(SYS_gettid);
	stopping.count = 1;
	for (int round = 0; round < ROUNDS && take_new_threads(tasks, mode); round++)
		wait_for_arrivals(tasks, deadline);
	for (int retry = 0; retry < RETRIES && take_again(tasks, mode); retry++)
		wait_for_arrivals(tasks, deadline);
	if (mode != THREADS_CALLER) {
		reread_threads(tasks);
		send_signal(&stopping.threads[0], 0);
	}
	set_state(&stopping.threads[0], THREAD_STOPPED);
	close(tasks);
	*ret = (struct thread_table){stopping.threads, stopping.count, stopping.caller_fp};
}

void threads_release(void)
{
	atomic_fetch_add(&stopping.generation, 1);
	futex(&stopping.generation, FUTEX_WAKE, INT_MAX, NULL);
}

/* -------------------------------------------------------------------------- after the instant */

static void mark_if_it_ran(int tasks, struct thread *thread)
{
	struct thread_status status;

	if (thread_state(thread) != THREAD_READ)
		return;
	if (!read_task_status(tasks, thread->tid, &status) && status.switches == thread->switches)
		return;
	thread->reason = REASON_RAN;
	set_state(thread, THREAD_MISSING);
}

/*
 * SIG_IGN first: it throws away what is still on its way, where the default action would end the
 * process.
 */
static void put_back_disposition(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	if (stopping.signal > 0) {
		sigaction(stopping.signal, &ignore, NULL);
		sigaction(stopping.signal, &stopping.before, NULL);
	}
	stopping.signal = 0;
}

void threads_finish(struct thread_table *table)
{
	int tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	put_back_disposition();
	for (uint32_t i = 1; i < table->count; i++)
		mark_if_it_ran(tasks, &table->threads[i]);
	close(tasks);
}
