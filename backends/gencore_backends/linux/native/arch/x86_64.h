/* SPDX-License-Identifier: Apache-2.0 */
/* x86-64: registers, notes, the shape of an interrupted system call. */
#ifndef GENCORE_ARCH_X86_64_H
#define GENCORE_ARCH_X86_64_H

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <unistd.h>
#include <ucontext.h>

#include "../memory_access.h"

#define ARCH_ELF_MACHINE EM_X86_64

typedef struct user_regs_struct arch_registers;
typedef struct user_fpregs_struct arch_fp_registers;

/* arch/x86/include/uapi/asm/sigcontext.h: struct _fpx_sw_bytes, in the FXSAVE image at byte 464. */
struct arch_fx_software_bytes {
	uint32_t magic1;
	uint32_t extended_size;
	uint64_t features;
	uint32_t xstate_size;
};

#define ARCH_FX_MAGIC1 0x46505853u
#define ARCH_FX_SOFTWARE_BYTES 464

/* What the handler saw, once it is on nobody's stack any more. */
static inline void arch_registers_of_context(const ucontext_t *context, uintptr_t tls,
					     arch_registers *ret)
{
	const greg_t *regs = context->uc_mcontext.gregs;

	memset(ret, 0, sizeof(*ret));
	ret->r15 = (unsigned long)regs[REG_R15];
	ret->r14 = (unsigned long)regs[REG_R14];
	ret->r13 = (unsigned long)regs[REG_R13];
	ret->r12 = (unsigned long)regs[REG_R12];
	ret->rbp = (unsigned long)regs[REG_RBP];
	ret->rbx = (unsigned long)regs[REG_RBX];
	ret->r11 = (unsigned long)regs[REG_R11];
	ret->r10 = (unsigned long)regs[REG_R10];
	ret->r9 = (unsigned long)regs[REG_R9];
	ret->r8 = (unsigned long)regs[REG_R8];
	ret->rax = (unsigned long)regs[REG_RAX];
	ret->rcx = (unsigned long)regs[REG_RCX];
	ret->rdx = (unsigned long)regs[REG_RDX];
	ret->rsi = (unsigned long)regs[REG_RSI];
	ret->rdi = (unsigned long)regs[REG_RDI];
	ret->orig_rax = (unsigned long)-1;
	ret->rip = (unsigned long)regs[REG_RIP];
	ret->eflags = (unsigned long)regs[REG_EFL];
	ret->rsp = (unsigned long)regs[REG_RSP];
	ret->cs = (unsigned long)regs[REG_CSGSFS] & 0xffff;
	ret->ss = (unsigned long)regs[REG_CSGSFS] >> 48;
	ret->fs_base = tls;
}

/* What /proc/PID/task/TID/syscall tells: the call, its arguments, stack and program counter. */
static inline void arch_registers_of_call(const struct thread_call *call, uintptr_t frame,
					  arch_registers *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->rdi = call->args[0];
	ret->rsi = call->args[1];
	ret->rdx = call->args[2];
	ret->r10 = call->args[3];
	ret->r8 = call->args[4];
	ret->r9 = call->args[5];
	ret->orig_rax = (unsigned long)call->number;
	ret->rax = (unsigned long)-ENOSYS;
	ret->rip = call->pc;
	ret->rcx = call->pc;
	ret->rsp = call->sp;
	ret->rbp = frame;
	ret->eflags = 0x246;
	ret->cs = 0x33;
	ret->ss = 0x2b;
}

/*
 * Fill in what a function that calls nobody any more looks like to its caller: the registers that
 * are saved by the callee, and a stack and program counter that belong together.
 */
__attribute__((always_inline)) static inline void arch_registers_here(arch_registers *ret)
{
	memset(ret, 0, sizeof(*ret));
	__asm__ volatile("movq %%r15, %0\n\tmovq %%r14, %1\n\tmovq %%r13, %2\n\tmovq %%r12, %3\n\t"
			 : "=m"(ret->r15), "=m"(ret->r14), "=m"(ret->r13), "=m"(ret->r12));
	__asm__ volatile("movq %%rbp, %0\n\tmovq %%rbx, %1\n\tmovq %%rsp, %2\n\t"
			 "leaq 0(%%rip), %%rax\n\tmovq %%rax, %3\n\tmovq %%fs:0, %%rax\n\tmovq %%rax, %4"
			 : "=m"(ret->rbp), "=m"(ret->rbx), "=m"(ret->rsp), "=m"(ret->rip),
			   "=m"(ret->fs_base)
			 :
			 : "rax");
	ret->orig_rax = (unsigned long)-1;
	ret->eflags = 0x246;
	ret->cs = 0x33;
	ret->ss = 0x2b;
}

static inline uintptr_t arch_stack_pointer(const arch_registers *regs)
{
	return regs->rsp;
}

static inline const void *arch_fp_state(const ucontext_t *context)
{
	return context->uc_mcontext.fpregs;
}

/* Bytes of the XSAVE image behind *fp*, or 0 if there is only FXSAVE. */
static inline size_t arch_xstate_size(const void *fp)
{
	const struct arch_fx_software_bytes *software =
		(const void *)((const char *)fp + ARCH_FX_SOFTWARE_BYTES);

	return software->magic1 == ARCH_FX_MAGIC1 ? software->xstate_size : 0;
}

/* Bytes of the floating-point state behind *fp*. */
static inline size_t arch_fp_image_size(const void *fp)
{
	size_t size = arch_xstate_size(fp);

	return size ? size : sizeof(arch_fp_registers);
}

/*
 * The frame's image in the form of NT_X86_XSTATE: the same but for bytes 464 to 511, where the
 * note has the mask of features (arch/x86/kernel/fpu/regset.c) and the frame its own words.
 */
static inline void arch_fix_xstate(char *image)
{
	struct arch_fx_software_bytes software;

	memcpy(&software, image + ARCH_FX_SOFTWARE_BYTES, sizeof(software));
	memset(image + ARCH_FX_SOFTWARE_BYTES, 0, 512 - ARCH_FX_SOFTWARE_BYTES);
	memcpy(image + ARCH_FX_SOFTWARE_BYTES, &software.features, sizeof(software.features));
}

static inline size_t arch_fp_notes_size(const void *fp)
{
	return fp ? 2 * NOTE_OVERHEAD + sizeof(arch_fp_registers) + arch_xstate_size(fp) : 0;
}

/* The floating-point notes of one thread. Its image begins like NT_FPREGSET. */
static inline void arch_add_fp_notes(struct notes *notes, const void *fp, uintptr_t tls)
{
	size_t size = fp ? arch_xstate_size(fp) : 0;

	(void)tls;
	if (fp)
		memcpy(notes_add(notes, "CORE", NT_FPREGSET, sizeof(arch_fp_registers)), fp,
		       sizeof(arch_fp_registers));
	if (size) {
		char *image = notes_add(notes, "LINUX", NT_X86_XSTATE, size);

		memcpy(image, fp, size);
		arch_fix_xstate(image);
	}
}

/* ------------------------------------------------- an interrupted system call, in its context */

static inline int arch_is_syscall(uintptr_t pc)
{
	const unsigned char *code = (const unsigned char *)pc;

	return code[0] == 0x0f && code[1] == 0x05;
}

#define ARCH_SYSCALL_SIZE 2

static inline uintptr_t arch_pc(const ucontext_t *context)
{
	return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
}

static inline uintptr_t arch_sp(const ucontext_t *context)
{
	return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
}

static inline long arch_result(const ucontext_t *context)
{
	return context->uc_mcontext.gregs[REG_RAX];
}

static inline void arch_set_result(ucontext_t *context, long result)
{
	context->uc_mcontext.gregs[REG_RAX] = result;
}

/* Of the system call that the context is about to run. */
static inline long arch_next_number(const ucontext_t *context)
{
	return context->uc_mcontext.gregs[REG_RAX];
}

static inline uintptr_t arch_argument(const ucontext_t *context, int index)
{
	static const int registers[] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};

	return (uintptr_t)context->uc_mcontext.gregs[registers[index]];
}

static inline int arch_same_arguments(const ucontext_t *context, const struct thread_call *call)
{
	return arch_argument(context, 0) == call->args[0] &&
	       arch_argument(context, 1) == call->args[1] &&
	       arch_argument(context, 2) == call->args[2];
}

/* glibc's syscall() gets the number from its caller, which loads it into edi before the call. */
static inline long arch_number_of_caller(uintptr_t return_address)
{
	unsigned char code[72]; /* maybe of two pages */
	int32_t number;

	if (memory_read(return_address - sizeof(code), code, sizeof(code)))
		return -1;
	for (size_t at = sizeof(code) - 10; at < sizeof(code); at--) {
		memcpy(&number, code + at + 1, sizeof(number));
		if (code[at] == 0xbf && number >= 0 && number < 1024) /* mov $imm32, %edi */
			return number;
	}
	return -1;
}

/* A number that was found in memory, unless it cannot be one. */
static inline long arch_plausible_number(long number)
{
	return number >= 0 && number < 1024 ? number : -1;
}

/*
 * Since glibc 2.41 cancellation points pass the number on the stack (nptl/cancellation.c,
 * sysdeps/unix/sysv/linux/x86_64/syscall_cancel.S): __internal_syscall_cancel() loads it into rax
 * itself, or into rsi before it calls __syscall_cancel_arch(), which then begins by pushing
 * nothing.
 */
static inline long arch_number_on_stack(const unsigned char *code, uintptr_t sp)
{
	unsigned char caller[30]; /* maybe of two pages */

	if (!memcmp(code - 5, "\x48\x8b\x44\x24", 4)) /* mov D(%rsp), %rax */
		return arch_plausible_number(*(const long *)(sp + code[-1]));
	if (memcmp(code - 5, "\x4c\x89\x5c\x24\x08", 5) || /* mov %r11, 8(%rsp) */
	    memory_read(*(const uintptr_t *)sp - sizeof(caller), caller, sizeof(caller)))
		return -1;
	for (size_t at = sizeof(caller) - 10; at > 0; at--)
		if (!memcmp(caller + at, "\x48\x8b\x74\x24", 4)) /* mov D(%rsp), %rsi */
			return arch_plausible_number(
				*(const long *)(sp + sizeof(sp) + caller[at + 4]));
	return -1;
}

/*
 * The number that is put into eax shortly before the system call; -1 if that is not seen. Some
 * functions of glibc load one or two arguments in between: splice(), sendto(), recvfrom().
 */
static inline long arch_decode_number(uintptr_t syscall_pc, uintptr_t sp)
{
	const unsigned char *code = (const unsigned char *)syscall_pc;
	int32_t number;

	for (int distance = 5; distance <= 15; distance++) {
		memcpy(&number, code - distance + 1, sizeof(number));
		if (code[-distance] == 0xb8 && number >= 0 && number < 1024) /* mov $imm32, %eax */
			return number;
	}
	if (code[-2] == 0x31 && code[-1] == 0xc0) /* xor %eax, %eax */
		return SYS_read;
	if (!memcmp(code - 5, "\x4c\x8b\x4c\x24\x08", 5)) /* mov 8(%rsp), %r9 */
		return arch_number_of_caller(*(const uintptr_t *)sp);
	return arch_number_on_stack(code, sp);
}

/* Make the context run the call again. The arguments are still in their registers. */
static inline void arch_set_back(ucontext_t *context, long number, const struct thread_call *call)
{
	(void)call;
	context->uc_mcontext.gregs[REG_RIP] -= ARCH_SYSCALL_SIZE;
	context->uc_mcontext.gregs[REG_RAX] = number;
}

/* Make the context return -EINTR from the call that it is about to run again. */
static inline void arch_return_eintr(ucontext_t *context)
{
	context->uc_mcontext.gregs[REG_RIP] += ARCH_SYSCALL_SIZE;
	context->uc_mcontext.gregs[REG_RAX] = -EINTR;
}

/* Where a handler of this signal returns to: the first word of struct rt_sigframe. */
static inline uintptr_t arch_restorer(int number)
{
	struct {
		void *handler;
		unsigned long flags;
		uintptr_t restorer;
		unsigned long mask;
	} action = {0};

	return syscall(SYS_rt_sigaction, number, NULL, &action, sizeof(action.mask)) ? 0
										      : action.restorer;
}

static inline uintptr_t arch_thread_pointer(void)
{
	uintptr_t tls;

	__asm__("movq %%fs:0, %0" : "=r"(tls));
	return tls;
}

/*
 * The function that was called by the instruction before a return address, through the procedure
 * linkage table or the global offset table; 0 if that cannot be seen in the code.
 */
static inline uintptr_t arch_called_function(uintptr_t return_address)
{
	unsigned char call[6]; /* the instruction ends with these */
	unsigned char stub[16];
	uintptr_t function = 0;
	uintptr_t next = return_address;
	int32_t offset;
	int skipped;

	if (memory_read(return_address - sizeof(call), call, sizeof(call)))
		return 0;
	memcpy(&offset, call + 2, sizeof(offset));
	if (call[1] == 0xe8) { /* call rel32 */
		next += (uintptr_t)(intptr_t)offset;
		if (memory_read(next, stub, sizeof(stub)))
			return 0;
		skipped = memcmp(stub, "\xf3\x0f\x1e\xfa", 4) ? 0 : 4; /* endbr64 */
		skipped += stub[skipped] == 0xf2;			  /* bnd */
		if (memcmp(stub + skipped, "\xff\x25", 2)) /* jmp *disp32(%rip) */
			return next;
		memcpy(&offset, stub + skipped + 2, sizeof(offset));
		next += (uintptr_t)skipped + 6;
	} else if (memcmp(call, "\xff\x15", 2)) { /* call *disp32(%rip) */
		return 0;
	}
	next += (uintptr_t)(intptr_t)offset;
	return memory_read(next, &function, sizeof(function)) ? 0 : function;
}

/* Whether the bytes before *code* are a call instruction, which returns to there. */
static inline int arch_follows_call(const unsigned char *code)
{
	if (code[-5] == 0xe8)
		return 1; /* call rel32 */
	for (int size = 2; size <= 7; size++) /* call through a register or memory: ff /2 */
		if (code[-size] == 0xff && (code[-size + 1] & 0x38) == 0x10)
			return 1;
	return 0;
}

#endif
