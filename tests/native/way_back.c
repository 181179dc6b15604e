// SPDX-License-Identifier: Apache-2.0
/*
 * Returns from a signal frame of arch_traced.h in this process itself, as a thread does whose
 * tracer was killed: to the registers, the mask and the floating-point state that the frame holds.
 *
 *   way_back     prints "back" if all are as they should be
 *   way_back exit     returns from a child's frame, which exits with 0
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch_traced.h"

static const uint64_t number = 0x1122334455667788u;
static const uint64_t mask = 1u << (SIGUSR2 - 1);

void landed(uint64_t general, uint64_t floating, uint64_t sp);

extern const char call_code[], return_code[], landing[];

#if defined(__x86_64__)
__asm__(".text\n.globl call_code, return_code, landing\n"
	"call_code: syscall\n\tret\n"
	"return_code: movq $15, %rax\n\tsyscall\n"
	"landing: movq %rbx, %rdi\n\tmovq %xmm9, %rsi\n\tmovq %rsp, %rdx\n\tcall landed\n");
#else
__asm__(".text\n.globl call_code, return_code, landing\n"
	"call_code: svc #0\n\tret\n"
	"return_code: mov x8, #139\n\tsvc #0\n"
	"landing: mov x0, x20\n\tfmov x1, d9\n\tmov x2, sp\n\tbl landed\n");
#endif

static char stack[1 << 16] __attribute__((aligned(64)));
static uintptr_t stack_pointer;

void landed(uint64_t general, uint64_t floating, uint64_t sp)
{
	sigset_t now;
	uint64_t blocked = 0;

	sigprocmask(SIG_BLOCK, NULL, &now);
	memcpy(&blocked, &now, sizeof(blocked));
	if (general == number && floating == number && sp == stack_pointer && blocked == mask)
		puts("back");
	fflush(stdout);
	_Exit(3);
}

/* The floating-point state of a thread that has the number in one register. */
static size_t make_fp(char *fp)
{
#if defined(__x86_64__)
	const uint64_t sse = 2; /* the component in use */
	uint32_t components, size, most, unused;
	const uint32_t mxcsr = 0x1f80;

	__cpuid_count(0xd, 0, components, size, most, unused);
	(void)components, (void)most, (void)unused;
	memcpy(fp + 24, &mxcsr, sizeof(mxcsr));
	memcpy(fp + 160 + 9 * 16, &number, sizeof(number)); /* xmm9 */
	memcpy(fp + ARCH_FX_SOFTWARE_BYTES, &sse, sizeof(sse));
	memcpy(fp + ARCH_XSTATE_HEADER, &sse, sizeof(sse));
	return size;
#else
	arch_fp_registers regs = {.fpcr = 0};

	memcpy(&regs.vregs[9], &number, sizeof(number));
	memcpy(fp, &regs, sizeof(regs));
	return sizeof(regs);
#endif
}

static void set_registers(arch_registers *regs)
{
	arch_registers_here(regs);
#if defined(__x86_64__)
	regs->rip = (uintptr_t)landing;
	regs->rsp = stack_pointer;
	regs->rbx = number;
#else
	regs->pc = (uintptr_t)landing;
	regs->sp = stack_pointer;
	regs->regs[20] = number;
	regs->pstate = 0;
#endif
}

static _Noreturn void go(uintptr_t frame)
{
#if defined(__x86_64__)
	__asm__ volatile("movq %0, %%rsp\n\tret" : : "r"(frame) : "memory");
#else
	__asm__ volatile("mov sp, %0\n\tb return_code" : : "r"(frame) : "memory");
#endif
	__builtin_unreachable();
}

int main(int argc, char **argv)
{
	static char room[1 << 14] __attribute__((aligned(64)));
	static char fp[1 << 13] __attribute__((aligned(64)));
	struct arch_frame *frame = (void *)room;
	uintptr_t at = (uintptr_t)(frame + 1);
	arch_registers regs;

	(void)argv;
	stack_pointer = (uintptr_t)stack + sizeof(stack) - 64;
	set_registers(&regs);
	if (argc > 1) {
		arch_fill_exit_frame(frame, &regs, (uintptr_t)call_code, (uintptr_t)return_code,
				     (uintptr_t)frame);
	} else {
		arch_fill_frame(frame, &regs, mask, (uintptr_t)return_code);
		arch_fill_frame_fp(frame, (char *)at, at, fp, make_fp(fp));
	}
	go((uintptr_t)frame);
}
