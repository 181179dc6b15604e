// SPDX-License-Identifier: Apache-2.0
/*
 * Returns from a signal frame of arch_traced.h in this process itself, as a thread does whose
 * tracer was killed: to the registers, the mask and the floating-point state that the frame holds.
 *
 *   way_back     prints "back" if all are as they should be
 *   way_back exit     returns from a child's frame, which exits with 0
 *   way_back again    aarch64: interrupts a call of its own, and goes back to make it again;
 *                     prints "again"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
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

#ifdef __aarch64__ /* elsewhere a signal's context does not say in which call it came */
/* A call as an injected one is made: registers, and the instruction in front of a return. */
static long call_through_code(long number_of_call, long first, long second, long third)
{
	register long x0 __asm__("x0") = first;
	register long x1 __asm__("x1") = second;
	register long x2 __asm__("x2") = third;
	register long x8 __asm__("x8") = number_of_call;

	__asm__ volatile("bl call_code" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x8) : "x30", "memory");
	return x0;
}

static int ends[2];
static char received;

/* What a tracer does with a thread whose call has ended with EINTR. */
static void interrupt(int number_of_signal, siginfo_t *info, void *context)
{
	static struct arch_frame frame __attribute__((aligned(64)));
	static char fp[1 << 13] __attribute__((aligned(64)));
	struct thread_call call = {
		.number = SYS_read,
		.args = {(unsigned long)ends[0], (uintptr_t)&received, 1},
		.pc = (uintptr_t)call_code + ARCH_SYSCALL_SIZE,
	};
	struct thread_call another = {.number = SYS_write, .pc = call.pc};
	arch_registers regs;

	(void)number_of_signal, (void)info;
	arch_registers_of_context(context, arch_thread_pointer(), &regs);
	if (!arch_was_in_call(&regs, &call))
		return; /* not yet */
	if (arch_was_in_call(&regs, &another) || arch_result_of(&regs) != -EINTR)
		_Exit(4);
	if (write(ends[1], "x", 1) != 1)
		_Exit(5);
	arch_run_again(&regs, &call);
	arch_fill_frame(&frame, &regs, 0, (uintptr_t)return_code);
	arch_fill_frame_fp(&frame, NULL, 0, fp, make_fp(fp));
	go((uintptr_t)&frame);
}

/* The handler interrupts the call, as it has no SA_RESTART. */
static int call_again(void)
{
	const struct itimerval often = {{0, 10000}, {0, 10000}};
	struct sigaction action = {.sa_sigaction = interrupt, .sa_flags = SA_SIGINFO};

	if (pipe(ends))
		return 6;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	if (call_through_code(SYS_read, ends[0], (long)&received, 1) != 1 || received != 'x')
		return 7;
	puts("again");
	return 3;
}
#endif

int main(int argc, char **argv)
{
	static char room[1 << 14] __attribute__((aligned(64)));
	static char fp[1 << 13] __attribute__((aligned(64)));
	struct arch_frame *frame = (void *)room;
	uintptr_t at = (uintptr_t)(frame + 1);
	arch_registers regs;

	(void)argv;
#ifdef __aarch64__
	if (argc > 1 && !strcmp(argv[1], "again"))
		return call_again();
#endif
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
