/* SPDX-License-Identifier: Apache-2.0 */
/* aarch64: a system call in a stopped thread of another process, and its way back. */
#ifndef GENCORE_ARCH_AARCH64_TRACED_H
#define GENCORE_ARCH_AARCH64_TRACED_H

#include <signal.h>

static const uint32_t arch_more_sets[] = {NT_PRFPREG, NT_ARM_TLS, NT_ARM_PAC_MASK};

#define ARCH_FP_SET NT_PRFPREG

/* svc #0; ret */
static const unsigned char arch_call_code[] = {1, 0, 0, 0xd4, 0xc0, 3, 0x5f, 0xd6};

/* mov x8, #139; svc #0: rt_sigreturn(2), in the vDSO. */
static const unsigned char arch_return_code[] = {0x68, 0x11, 0x80, 0xd2, 1, 0, 0, 0xd4};

/* struct rt_sigframe of arch/arm64/kernel/signal.c. */
struct arch_frame {
	char info[128];
	ucontext_t context;
};

/* Whether the thread is in the call that was read before it was stopped. */
static inline bool arch_was_in_call(const arch_registers *regs, struct thread_call *call)
{
	bool same = call->number >= 0 && regs->regs[8] == (unsigned long long)call->number &&
		    (regs->pc == call->pc || regs->pc == call->pc - ARCH_SYSCALL_SIZE);

	call->number = same ? call->number : -1;
	return same;
}

static inline long arch_result_of(const arch_registers *regs)
{
	return (long)regs->regs[0];
}

/* The kernel has done so before a tracer sees it. */
static inline bool arch_is_restarted(const arch_registers *regs)
{
	(void)regs;
	return false;
}

/* The kernel has set back what it restarts before a tracer sees it (do_signal()). */
static inline void arch_run_again(arch_registers *regs, const struct thread_call *call)
{
	if (arch_result_of(regs) != -EINTR)
		return;
	regs->pc -= ARCH_SYSCALL_SIZE;
	regs->regs[0] = call->args[0];
	regs->regs[8] = (unsigned long long)call->number;
}

/* The calls that go on for the time that is left, through a call of their own. */
static inline void arch_resume_exactly(arch_registers *regs, const struct thread_call *call)
{
	if (arch_result_of(regs) == -EINTR)
		return;
	if (call->number == SYS_nanosleep || (call->number == SYS_clock_nanosleep && !call->args[1]))
		regs->regs[8] = SYS_restart_syscall;
}

static inline void arch_enter_call(arch_registers *regs, uintptr_t code, uintptr_t return_code,
				   uintptr_t sp, long number, const unsigned long *args)
{
	for (int i = 0; i < 6; i++)
		regs->regs[i] = args[i];
	regs->regs[8] = (unsigned long long)number;
	regs->regs[30] = return_code;
	regs->pc = code;
	regs->sp = sp;
}

static inline void arch_fill_frame(struct arch_frame *frame, const arch_registers *regs,
				   uint64_t mask, uintptr_t return_code)
{
	(void)return_code;
	memset(frame, 0, sizeof(*frame));
	frame->context.uc_stack.ss_flags = 0x7fffffff; /* none: the alternate stack stays */
	memcpy(&frame->context.uc_sigmask, &mask, sizeof(mask));
	memcpy(frame->context.uc_mcontext.regs, regs->regs, sizeof(regs->regs));
	frame->context.uc_mcontext.sp = regs->sp;
	frame->context.uc_mcontext.pc = regs->pc;
	frame->context.uc_mcontext.pstate = regs->pstate;
}

static inline size_t arch_frame_fp_size(const void *fp, size_t size)
{
	(void)fp;
	return size;
}

static inline size_t arch_frame_fp_room(size_t fp_size)
{
	(void)fp_size; /* it is in the frame */
	return 0;
}

/* The kernel refuses a frame without one. */
static inline void arch_fill_frame_fp(struct arch_frame *frame, char *room, uintptr_t at,
				      const void *fp, size_t size)
{
	struct fpsimd_context *record = (void *)frame->context.uc_mcontext.__reserved;
	arch_fp_registers regs = {.fpcr = 0};

	(void)room;
	(void)at;
	memcpy(&regs, fp, size < sizeof(regs) ? size : sizeof(regs));
	record->head.magic = FPSIMD_MAGIC;
	record->head.size = sizeof(*record);
	record->fpsr = regs.fpsr;
	record->fpcr = regs.fpcr;
	memcpy(record->vregs, regs.vregs, sizeof(record->vregs));
}

#endif
