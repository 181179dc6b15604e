/* SPDX-License-Identifier: Apache-2.0 */
/* aarch64: registers, notes, the shape of an interrupted system call. */
#ifndef GENCORE_ARCH_AARCH64_H
#define GENCORE_ARCH_AARCH64_H

#include <asm/hwcap.h>
#include <asm/ptrace.h>
#include <asm/sigcontext.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define ARCH_ELF_MACHINE EM_AARCH64

typedef struct user_pt_regs arch_registers;
typedef struct user_fpsimd_state arch_fp_registers;

#define ARCH_SYSCALL_SIZE 4

#ifndef NT_ARM_PAC_MASK
#define NT_ARM_PAC_MASK 0x406 /* include/uapi/linux/elf.h */
#endif

static inline void arch_registers_of_context(const ucontext_t *context, uintptr_t tls,
					     arch_registers *ret)
{
	(void)tls; /* it has a note of its own, NT_ARM_TLS */
	memcpy(ret->regs, context->uc_mcontext.regs, sizeof(ret->regs));
	ret->sp = context->uc_mcontext.sp;
	ret->pc = context->uc_mcontext.pc;
	ret->pstate = context->uc_mcontext.pstate;
}

static inline void arch_registers_of_call(const struct thread_call *call, uintptr_t frame,
					  arch_registers *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (int i = 0; i < 6; i++)
		ret->regs[i] = call->args[i];
	ret->regs[8] = (unsigned long long)call->number;
	ret->regs[29] = frame;
	ret->sp = call->sp;
	ret->pc = call->pc;
}

__attribute__((always_inline)) static inline void arch_registers_here(arch_registers *ret)
{
	memset(ret, 0, sizeof(*ret));
	__asm__ volatile("stp x19, x20, [%0, #152]\n\tstp x21, x22, [%0, #168]\n\t"
			 "stp x23, x24, [%0, #184]\n\tstp x25, x26, [%0, #200]\n\t"
			 "stp x27, x28, [%0, #216]\n\tstp x29, x30, [%0, #232]\n\t"
			 "mov x9, sp\n\tadr x10, .\n\tstp x9, x10, [%0, #248]"
			 :
			 : "r"(ret)
			 : "x9", "x10", "memory");
}

static inline uintptr_t arch_stack_pointer(const arch_registers *regs)
{
	return regs->sp;
}

/* The FPSIMD record is the first one in the reserved area (arch/arm64/kernel/signal.c). */
static inline const void *arch_fp_state(const ucontext_t *context)
{
	const struct fpsimd_context *record = (const void *)context->uc_mcontext.__reserved;

	return record->head.magic == FPSIMD_MAGIC ? record : NULL;
}

static inline size_t arch_fp_image_size(const void *fp)
{
	(void)fp;
	return sizeof(struct fpsimd_context);
}

static inline size_t arch_fp_notes_size(const void *fp)
{
	(void)fp;
	return 3 * NOTE_OVERHEAD + sizeof(arch_fp_registers) + sizeof(uint64_t) * 3;
}

/* With 48-bit addresses, the default, bits 48 to 54 of a pointer hold its signature. */
#define ARCH_PAC_MASK 0x007f000000000000ull

/* The floating-point registers, the thread pointer, and the bits that are no part of an address. */
static inline void arch_add_fp_notes(struct notes *notes, const void *fp, uintptr_t tls)
{
	const struct fpsimd_context *record = fp;

	if (record) {
		arch_fp_registers *regs =
			notes_add(notes, "CORE", NT_FPREGSET, sizeof(arch_fp_registers));

		memcpy(regs->vregs, record->vregs, sizeof(regs->vregs));
		regs->fpsr = record->fpsr;
		regs->fpcr = record->fpcr;
	}
	memcpy(notes_add(notes, "LINUX", NT_ARM_TLS, sizeof(tls)), &tls, sizeof(tls));
	if (getauxval(AT_HWCAP) & HWCAP_PACA) {
		const uint64_t masks[] = {ARCH_PAC_MASK, ARCH_PAC_MASK}; /* data, code */

		memcpy(notes_add(notes, "LINUX", NT_ARM_PAC_MASK, sizeof(masks)), masks,
		       sizeof(masks));
	}
}

static inline int arch_is_syscall(uintptr_t pc)
{
	return *(const uint32_t *)pc == 0xd4000001u; /* svc #0 */
}

static inline uintptr_t arch_pc(const ucontext_t *context)
{
	return context->uc_mcontext.pc;
}

static inline uintptr_t arch_sp(const ucontext_t *context)
{
	return context->uc_mcontext.sp;
}

static inline long arch_result(const ucontext_t *context)
{
	return (long)context->uc_mcontext.regs[0];
}

static inline void arch_set_result(ucontext_t *context, long result)
{
	context->uc_mcontext.regs[0] = (unsigned long long)result;
}

static inline long arch_next_number(const ucontext_t *context)
{
	return (long)context->uc_mcontext.regs[8];
}

static inline uintptr_t arch_argument(const ucontext_t *context, int index)
{
	return context->uc_mcontext.regs[index];
}

/* The result overwrites the first argument, so it cannot be compared. */
static inline int arch_same_arguments(const ucontext_t *context, const struct thread_call *call)
{
	return context->uc_mcontext.regs[1] == call->args[1] &&
	       context->uc_mcontext.regs[2] == call->args[2] &&
	       (long)context->uc_mcontext.regs[8] == call->number;
}

/* x8 still holds the number, but nothing holds the first argument: not enough to run it again. */
static inline long arch_decode_number(uintptr_t syscall_pc, uintptr_t sp)
{
	(void)sp;
	(void)syscall_pc;
	return -1;
}

static inline void arch_set_back(ucontext_t *context, long number, const struct thread_call *call)
{
	(void)number;
	context->uc_mcontext.pc -= ARCH_SYSCALL_SIZE;
	context->uc_mcontext.regs[0] = call->args[0];
}

static inline void arch_return_eintr(ucontext_t *context)
{
	context->uc_mcontext.pc += ARCH_SYSCALL_SIZE;
	context->uc_mcontext.regs[0] = (unsigned long long)-EINTR;
}

/* The frame has no such word: alternate stacks are not recognized. */
static inline uintptr_t arch_restorer(int number)
{
	(void)number;
	return 0;
}

static inline uintptr_t arch_thread_pointer(void)
{
	uintptr_t tls;

	__asm__("mrs %0, tpidr_el0" : "=r"(tls));
	return tls;
}

/* Not looked for. */
static inline uintptr_t arch_called_function(uintptr_t return_address)
{
	(void)return_address;
	return 0;
}

static inline int arch_follows_call(const unsigned char *code)
{
	uint32_t before;

	memcpy(&before, code - 4, sizeof(before));
	return (before & 0xfc000000u) == 0x94000000u ||	 /* bl */
	       (before & 0xfffffc1fu) == 0xd63f0000u;	 /* blr */
}

#endif
