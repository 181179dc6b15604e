// SPDX-License-Identifier: Apache-2.0
/*
 * The thread stays alive whenever this tracer is killed. The kernel then lets it run with the
 * registers that it has at that moment, so these always lead back: the call is made at an
 * instruction behind which comes a return, and the return leads to a signal frame that holds the
 * thread's own registers, its signal mask and its floating-point state. The frame of a child makes
 * it exit. Frames are written below the red zone of a stack, where nothing is; and the order in
 * which registers, mask and memory are changed is such that no moment is without a way back.
 *
 * An interrupted call goes on exactly only if the registers are set back while the thread stands
 * in a stop that the kernel looks for signals in: behind one of PTRACE_SYSCALL it does not.
 */
#define _GNU_SOURCE
#include "injection.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch_traced.h"
#include "clock.h"
#include "kernel_abi.h"

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2 /* include/uapi/linux/close_range.h */
#endif

enum {
	PIECE = 1 << 20,
	RED_ZONE = 256, /* bytes below a stack pointer that belong to a function; at most */
	PATIENCE_S = 10,
	SYSCALL_STOP = SIGTRAP | 0x80,
};

/* -------------------------------------------------------------------------------------- memory */

static int open_process(pid_t pid, const char *name, int flags)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return open(path, flags | O_CLOEXEC);
}

static int write_memory(pid_t pid, uintptr_t at, const void *data, size_t size)
{
	int fd = open_process(pid, "mem", O_RDWR);
	ssize_t done = fd < 0 ? -1 : pwrite(fd, data, size, (off_t)at);

	if (fd >= 0)
		close(fd);
	return done == (ssize_t)size ? 0 : -1;
}

static int read_memory(pid_t pid, uintptr_t at, void *data, size_t size)
{
	int fd = open_process(pid, "mem", O_RDONLY);
	ssize_t done = fd < 0 ? -1 : pread(fd, data, size, (off_t)at);

	if (fd >= 0)
		close(fd);
	return done == (ssize_t)size ? 0 : -1;
}

/* ---------------------------------------------------------------------------------------- code */

struct row {
	uintptr_t start;
	uintptr_t end;
	char permissions[5];
	char name[256];
};

static bool next_row(FILE *maps, struct row *ret)
{
	char line[4400];

	if (!fgets(line, sizeof(line), maps))
		return false;
	ret->name[0] = '\0';
	return sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %*s %255[^\n]", &ret->start,
		      &ret->end, ret->permissions, ret->name) >= 3;
}

static void find_pattern(const char *data, size_t size, uintptr_t at, const void *pattern,
			 size_t length, uintptr_t *ret)
{
	const char *found = *ret ? NULL : memmem(data, size, pattern, length);

	if (found)
		*ret = at + (uintptr_t)(found - data);
}

static void search(int memory, const struct row *row, char *buffer, struct found_code *ret)
{
	for (uintptr_t at = row->start; at < row->end; at += PIECE - 16) {
		size_t size = row->end - at < PIECE ? row->end - at : PIECE;
		ssize_t got = pread(memory, buffer, size, (off_t)at);

		if (got <= 0)
			continue;
		find_pattern(buffer, (size_t)got, at, arch_call_code, sizeof(arch_call_code),
			     &ret->call);
		find_pattern(buffer, (size_t)got, at, arch_return_code, sizeof(arch_return_code),
			     &ret->return_);
		if (ret->call && ret->return_)
			return;
	}
}

/* Mappings that are code and nothing else: others may change what they hold. */
static void search_all(int memory, FILE *maps, char *buffer, struct found_code *ret)
{
	struct row row;

	while ((!ret->call || !ret->return_) && next_row(maps, &row))
		if (!strcmp(row.permissions, "r-xp") && (row.name[0] == '/' || row.name[0] == '['))
			search(memory, &row, buffer, ret);
}

int injection_find_code(pid_t pid, struct found_code *ret)
{
	int memory = open_process(pid, "mem", O_RDONLY);
	int fd = open_process(pid, "maps", O_RDONLY);
	FILE *maps = fd < 0 ? NULL : fdopen(fd, "r");
	char *buffer = malloc(PIECE);

	*ret = (struct found_code){0, 0};
	if (memory >= 0 && maps && buffer) {
		search_all(memory, maps, buffer, ret);
		errno = ENOEXEC;
	}
	free(buffer);
	if (maps)
		fclose(maps);
	if (memory >= 0)
		close(memory);
	return ret->call && ret->return_ ? 0 : -1;
}

static bool has_code_at(pid_t pid, uintptr_t at, const unsigned char *code, size_t size)
{
	unsigned char there[16];

	return !read_memory(pid, at, there, size) && !memcmp(there, code, size);
}

/* It may have executed another program meanwhile. */
static bool is_still_there(pid_t pid, const struct found_code *code)
{
	return has_code_at(pid, code->call, arch_call_code, sizeof(arch_call_code)) &&
	       has_code_at(pid, code->return_, arch_return_code, sizeof(arch_return_code));
}

/* -------------------------------------------------------------------------------------- frames */

static bool find_stack(pid_t pid, uintptr_t sp, struct row *holding, struct row *main_stack)
{
	int fd = open_process(pid, "maps", O_RDONLY);
	FILE *maps = fd < 0 ? NULL : fdopen(fd, "r");
	struct row row;

	if (!maps)
		return false;
	while (next_row(maps, &row)) {
		if (row.start <= sp && sp < row.end)
			*holding = row;
		if (!strcmp(row.name, "[stack]"))
			*main_stack = row;
	}
	fclose(maps);
	return true;
}

/*
 * The thread's own stack if it is the main one, which grows. Stacks of other threads may be made by
 * the program and have something else below them: there the bottom of the main stack is taken, far
 * from what is in use. Returns 0 if no place was found.
 */
static uintptr_t place_for(const struct tracees *tracees, const struct tracee *tracee, size_t size)
{
	struct row holding = {.start = 0}, main_stack = {.start = 0};
	uintptr_t sp = arch_stack_pointer(&tracee->registers);

	if (!find_stack(tracees->pid, sp, &holding, &main_stack))
		return 0;
	if (main_stack.start && holding.start == main_stack.start)
		return (sp - RED_ZONE - size) & ~(uintptr_t)63;
	for (uint32_t i = 0; i < tracees->count; i++) {
		const struct tracee *row = &tracees->rows[i];

		if (row->tid != tracees->pid || row->state != TRACEE_STOPPED)
			continue;
		sp = arch_stack_pointer(&row->registers);
		if (sp < main_stack.start || sp >= main_stack.end)
			sp = main_stack.end;
		if (main_stack.start && sp - main_stack.start >= 2 * (size + RED_ZONE))
			return main_stack.start;
	}
	sp = arch_stack_pointer(&tracee->registers);
	if (holding.start && holding.permissions[1] == 'w' && sp - holding.start >= size + RED_ZONE)
		return (sp - RED_ZONE - size) & ~(uintptr_t)63;
	return 0;
}

/* The registers with which the thread would go on without us. */
static void find_way_back(const struct tracee *tracee, arch_registers *ret)
{
	*ret = tracee->registers;
	if (tracee->set_back || (tracee->in_call && arch_is_restarted(ret)))
		arch_run_again(ret, &tracee->call);
}

static const struct register_set *fp_set_of(const struct tracee *tracee)
{
	for (int i = 0; i < MOST_SETS; i++)
		if (tracee->sets[i].type == ARCH_FP_SET)
			return &tracee->sets[i];
	return NULL;
}

/* The thread's own frame is the lowest: a handler's frame would come below it. */
struct frames {
	struct arch_frame own;
	struct arch_frame child;
	char fp[];
};

static size_t size_of_frames(size_t fp_size)
{
	return (sizeof(struct frames) + arch_frame_fp_room(fp_size) + 63) & ~(size_t)63;
}

static void build_frames(const struct tracee *tracee, const struct found_code *code,
			 uintptr_t at, uint64_t mask, size_t fp_size, struct frames *ret)
{
	arch_registers back;

	find_way_back(tracee, &back);
	arch_fill_frame(&ret->own, &back, mask, code->return_);
	if (fp_size)
		arch_fill_frame_fp(&ret->own, ret->fp, at + offsetof(struct frames, fp),
				   fp_set_of(tracee)->data, fp_size);
	arch_fill_exit_frame(&ret->child, &tracee->registers, code->call, code->return_,
			     at + offsetof(struct frames, child));
}

static int borrow(pid_t pid, uintptr_t at, const void *data, size_t size, struct borrowed *ret)
{
	*ret = (struct borrowed){.at = at, .size = size, .before = malloc(size)};
	if (!ret->before || read_memory(pid, at, ret->before, size) ||
	    write_memory(pid, at, data, size)) {
		free(ret->before);
		ret->before = NULL;
		return -1;
	}
	return 0;
}

int injection_give_back(pid_t pid, struct borrowed *borrowed)
{
	if (pid && borrowed->before)
		return write_memory(pid, borrowed->at, borrowed->before, borrowed->size);
	free(borrowed->before);
	borrowed->before = NULL;
	return 0;
}

static int put_frames(const struct tracees *tracees, const struct tracee *tracee,
		      const struct found_code *code, uint64_t mask, struct borrowed *ret)
{
	const struct register_set *fp = fp_set_of(tracee);
	size_t fp_size = fp ? arch_frame_fp_size(fp->data, fp->size) : 0;
	size_t size = size_of_frames(fp_size);
	struct frames *frames = calloc(1, size);
	uintptr_t at = place_for(tracees, tracee, size);
	int result = -1;

	if (!at)
		errno = ENOSPC;
	if (frames && at) {
		build_frames(tracee, code, at, mask, fp_size, frames);
		result = borrow(tracees->pid, at, frames, size, ret);
	}
	free(frames);
	return result;
}

/* ------------------------------------------------------------------------------------ the call */

static int set_general(pid_t tid, arch_registers *regs)
{
	struct iovec part = {regs, sizeof(*regs)};

	return (int)ptrace(PTRACE_SETREGSET, tid, (void *)(uintptr_t)NT_PRSTATUS, &part);
}

static int get_general(pid_t tid, arch_registers *regs)
{
	struct iovec part = {regs, sizeof(*regs)};

	return (int)ptrace(PTRACE_GETREGSET, tid, (void *)(uintptr_t)NT_PRSTATUS, &part);
}

static int set_mask(pid_t tid, uint64_t mask)
{
	return (int)ptrace(PTRACE_SETSIGMASK, tid, (void *)sizeof(mask), &mask);
}

static int get_mask(pid_t tid, uint64_t *ret)
{
	return (int)ptrace(PTRACE_GETSIGMASK, tid, (void *)sizeof(*ret), ret);
}

static uint64_t patience(void)
{
	return now_ns() + PATIENCE_S * 1000000000ull;
}

/* The signal that a stop is about, for the thread to get it; 0 if it is about something else. */
static uintptr_t signal_of(int status)
{
	return status >> 16 || WSTOPSIG(status) == SYSCALL_STOP ? 0 : (uintptr_t)WSTOPSIG(status);
}

/* Returns the status of the next stop, or -1 with errno set. */
static int wait_for_stop(pid_t tid)
{
	int status = tracee_wait(tid, patience());

	if (status >= 0 && WIFSTOPPED(status))
		return status;
	errno = status < 0 ? ETIMEDOUT : ESRCH;
	return -1;
}

/* Run until the end of the call. Returns 0, or -1 with errno set. */
static int run_call(pid_t tid, struct injected_call *call)
{
	uintptr_t passed = 0;
	int syscall_stops = 0;

	while (syscall_stops < 2) {
		int status;

		if (ptrace(PTRACE_SYSCALL, tid, NULL, (void *)passed))
			return -1;
		status = wait_for_stop(tid);
		if (status < 0)
			return -1;
		passed = signal_of(status);
		syscall_stops += !(status >> 16) && WSTOPSIG(status) == SYSCALL_STOP;
		if (status >> 16 == PTRACE_EVENT_CLONE) {
			unsigned long child = 0;

			ptrace(PTRACE_GETEVENTMSG, tid, NULL, &child);
			call->child = (pid_t)child;
		}
	}
	return 0;
}

/* From the call's end, without one instruction, to a stop that ends as the first one did. */
static int go_to_stop(pid_t tid)
{
	uintptr_t passed = 0;
	int status;

	do {
		if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) ||
		    ptrace(PTRACE_CONT, tid, NULL, (void *)passed))
			return -1;
		status = wait_for_stop(tid);
		if (status < 0)
			return -1;
		passed = signal_of(status);
	} while (status >> 16 != PTRACE_EVENT_STOP);
	return 0;
}

/* With the mask closed no signal's handler runs in between. Returns 0, or -1 with errno set. */
static int make_call(struct tracee *tracee, const struct found_code *code, uint64_t mask,
		     uintptr_t frames, struct injected_call *call)
{
	const uintptr_t options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;
	arch_registers regs = tracee->registers;
	pid_t tid = tracee->tid;

	arch_enter_call(&regs, code->call, code->return_, frames, call->number, call->args);
	if (ptrace(PTRACE_SETOPTIONS, tid, NULL, (void *)options) || set_general(tid, &regs) ||
	    set_mask(tid, ~(uint64_t)0) || run_call(tid, call) || get_general(tid, &regs))
		return -1;
	call->result = arch_result_of(&regs);
	return go_to_stop(tid) || set_mask(tid, mask) || set_general(tid, &tracee->resumed) ? -1 : 0;
}

/* A table of its own without any: the peers of the process see what it closes, and its end. */
void injection_close_descriptors(pid_t child, const struct found_code *code,
				 const struct borrowed *borrowed)
{
	struct injected_call call = {
		.number = SYS_close_range,
		.args = {0, UINT_MAX, CLOSE_RANGE_UNSHARE},
	};
	arch_registers regs;

	if (get_general(child, &regs))
		return;
	arch_enter_call(&regs, code->call, code->return_,
			borrowed->at + offsetof(struct frames, child), call.number, call.args);
	if (!set_general(child, &regs))
		run_call(child, &call);
}

int injection_run(const struct tracees *tracees, struct tracee *tracee,
		  const struct found_code *code, struct injected_call *call,
		  struct borrowed *borrowed)
{
	uint64_t mask;

	if (!is_still_there(tracees->pid, code)) {
		errno = ENOEXEC;
		return -1;
	}
	if (get_mask(tracee->tid, &mask) ||
	    put_frames(tracees, tracee, code, mask, borrowed))
		return -1;
	if (call->number == SYS_clone)
		call->args[1] = borrowed->at + offsetof(struct frames, child);
	if (make_call(tracee, code, mask, borrowed->at, call))
		return -1;
	return injection_give_back(tracees->pid, borrowed);
}
