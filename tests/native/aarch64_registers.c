// SPDX-License-Identifier: Apache-2.0
/*
 * Stops a thread that computes, with known values in its registers, and looks at what is captured:
 * aarch64_registers CAPTURES. Prints how often all was right. Made to run under qemu-user.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "arch.h"
#include "capture.h"

static atomic_int ready;
static atomic_int done;
static uintptr_t tls;
static uintptr_t stack_low, stack_high;

static void ignore(int number)
{
	(void)number;
}

/* qemu-user has no signals for the highest numbers, and does not say so: they look taken then. */
static void take_high_signals(void)
{
	for (int number = SIGRTMAX - 8; number < SIGRTMAX; number++)
		signal(number, ignore);
}

static void *compute(void *unused)
{
	char here;

	(void)unused;
	stack_high = (uintptr_t)&here + 4096;
	stack_low = (uintptr_t)&here - 65536;
	tls = arch_thread_pointer();
	ready = 1;
	__asm__ volatile("mov x20, #0x1111\n\tmov x21, #0x2222\n\tfmov d8, #1.5\n\t"
			 "1: ldr w9, [%0]\n\tcbz w9, 1b"
			 :
			 : "r"(&done)
			 : "x9", "x20", "x21", "d8", "memory");
	return NULL;
}

static int is_right(const struct thread *thread)
{
	arch_registers regs;
	const struct fpsimd_context *fp;

	if (thread_state(thread) != THREAD_STOPPED)
		return 0;
	arch_registers_of_context(thread->context, thread->tls, &regs);
	fp = arch_fp_state(thread->context);
	return regs.regs[20] == 0x1111 && regs.regs[21] == 0x2222 && thread->tls == tls &&
	       regs.sp > stack_low && regs.sp < stack_high && !arch_is_syscall(regs.pc) &&
	       arch_fp_image_size(fp) && (uint64_t)fp->vregs[8] == 0x3ff8000000000000u;
}

static int right;

static void look(const struct thread_table *table)
{
	right = 0;
	for (uint32_t i = 1; i < table->count; i++)
		right += is_right(&table->threads[i]);
}

int main(int argc, char **argv)
{
	int captures = argc > 1 ? atoi(argv[1]) : 1;
	struct thread_table table;
	int all_right = 0;
	pthread_t thread;

	take_high_signals();
	pthread_create(&thread, NULL, compute, NULL);
	while (!ready)
		usleep(100);
	for (int i = 0; i < captures; i++)
		all_right += !capture_threads(THREADS_AUTO, &table, look) && right == 1;
	done = 1;
	pthread_join(thread, NULL);
	printf("%d\n", all_right);
	return 0;
}
