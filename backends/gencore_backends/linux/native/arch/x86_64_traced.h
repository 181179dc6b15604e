/* SPDX-License-Identifier: Apache-2.0 */
/* x86-64: a system call in a stopped thread of another process, and its way back. */
#ifndef GENCORE_ARCH_X86_64_TRACED_H
#define GENCORE_ARCH_X86_64_TRACED_H

#include <cpuid.h>

static const uint32_t arch_more_sets[] = {NT_PRFPREG, NT_X86_XSTATE};

#define ARCH_FP_SET NT_X86_XSTATE

/* syscall; ret */
static const unsigned char arch_call_code[] = {0x0f, 0x05, 0xc3};

/* mov $15, %rax; syscall: rt_sigreturn(2), in every C library. */
static const unsigned char arch_return_code[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};

/* arch/x86/include/uapi/asm/ucontext.h */
enum { UC_FP_XSTATE = 1, UC_SIGCONTEXT_SS = 2, UC_STRICT_RESTORE_SS = 4 };

#define ARCH_FX_MAGIC2 0x46505845u
#define ARCH_FX_MAGIC2_SIZE 4
#define ARCH_TILE_DATA 18 /* of XSAVE: the one component that a thread must ask for, the last */
#define ARCH_XSTATE_HEADER 512 /* byte at which the components in use are */

/* struct rt_sigframe of arch/x86/include/asm/sigframe.h. */
struct arch_frame {
	uint64_t restorer;
	uint64_t flags;
	uint64_t link;
	uint64_t stack[3]; /* stack_t */
	uint64_t registers[NGREG];
	uint64_t fp;
	uint64_t reserved[8];
	uint64_t mask;
	char info[128];
};

/* Whether the thread was stopped in a call, which *call* then has; it may have made a newer one. */
static inline bool arch_was_in_call(const arch_registers *regs, struct thread_call *call)
{
	call->number = (long)regs->orig_rax;
	return call->number >= 0;
}

static inline long arch_result_of(const arch_registers *regs)
{
	return (long)regs->rax;
}

/* Whether the kernel is about to restart the call; the numbers are those of include/linux/errno.h. */
static inline bool arch_is_restarted(const arch_registers *regs)
{
	long result = arch_result_of(regs);

	return result <= -512 && result >= -516 && result != -515;
}

/* The registers that run an interrupted call from its beginning. */
static inline void arch_run_again(arch_registers *regs, const struct thread_call *call)
{
	(void)call;
	regs->rip -= ARCH_SYSCALL_SIZE;
	regs->rax = regs->orig_rax;
	regs->orig_rax = (unsigned long)-1;
}

/* What the kernel notes at the stop is enough for it to resume every call. */
static inline void arch_resume_exactly(arch_registers *regs, const struct thread_call *call)
{
	(void)regs;
	(void)call;
}

/* The registers that run a call, and then return to the frame at *sp*. */
static inline void arch_enter_call(arch_registers *regs, uintptr_t code, uintptr_t return_code,
				   uintptr_t sp, long number, const unsigned long *args)
{
	(void)return_code; /* it is the frame's first word */
	regs->orig_rax = (unsigned long)-1;
	regs->rax = (unsigned long)number;
	regs->rip = code;
	regs->rsp = sp;
	regs->eflags &= ~0x500ul; /* no single step, no reversed direction */
	regs->rdi = args[0];
	regs->rsi = args[1];
	regs->rdx = args[2];
	regs->r10 = args[3];
	regs->r8 = args[4];
	regs->r9 = args[5];
}

/* A frame's registers, in the order of <sys/ucontext.h>. */
static inline void arch_fill_frame(struct arch_frame *frame, const arch_registers *regs,
				   uint64_t mask, uintptr_t return_code)
{
	const uint64_t rows[] = {
		regs->r8,  regs->r9,  regs->r10, regs->r11, regs->r12, regs->r13,
		regs->r14, regs->r15, regs->rdi, regs->rsi, regs->rbp, regs->rbx,
		regs->rdx, regs->rax, regs->rcx, regs->rsp, regs->rip, regs->eflags,
		(regs->cs & 0xffff) | regs->ss << 48,
	};

	memset(frame, 0, sizeof(*frame));
	frame->restorer = return_code;
	frame->flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	frame->stack[1] = 0x7fffffff; /* no valid flags: the alternate stack stays as it is */
	memcpy(frame->registers, rows, sizeof(rows));
	frame->mask = mask;
}

/* Bytes of a thread's XSAVE image that a frame may have: no more than the thread asked for. */
static inline size_t arch_frame_fp_size(const void *fp, size_t size)
{
	unsigned int bytes, offset, flags, unused;
	uint64_t in_use;

	if (size <= ARCH_XSTATE_HEADER + sizeof(in_use))
		return size;
	memcpy(&in_use, (const char *)fp + ARCH_XSTATE_HEADER, sizeof(in_use));
	if (in_use >> ARCH_TILE_DATA & 1 ||
	    !__get_cpuid_count(0xd, ARCH_TILE_DATA, &bytes, &offset, &flags, &unused))
		return size;
	return bytes && offset < size ? offset : size;
}

/* Room that the floating-point state takes behind the frame. */
static inline size_t arch_frame_fp_room(size_t fp_size)
{
	return fp_size ? fp_size + ARCH_FX_MAGIC2_SIZE + 64 : 0;
}

/* The floating-point state in *room*, which the thread has at *at*; see fpu__restore_sig(). */
static inline void arch_fill_frame_fp(struct arch_frame *frame, char *room, uintptr_t at,
				      const void *fp, size_t size)
{
	const uint32_t end = ARCH_FX_MAGIC2;
	size_t offset = (64 - at % 64) % 64; /* the XSAVE image is aligned to 64 bytes */
	struct arch_fx_software_bytes software = {
		.magic1 = ARCH_FX_MAGIC1,
		.extended_size = (uint32_t)(size + ARCH_FX_MAGIC2_SIZE),
		.xstate_size = (uint32_t)size,
	};

	if (!size)
		return;
	memcpy(room + offset, fp, size);
	memcpy(&software.features, room + offset + ARCH_FX_SOFTWARE_BYTES,
	       sizeof(software.features));
	memcpy(room + offset + ARCH_FX_SOFTWARE_BYTES, &software, sizeof(software));
	memcpy(room + offset + size, &end, sizeof(end));
	frame->fp = at + offset;
	frame->flags |= UC_FP_XSTATE;
}

#endif
