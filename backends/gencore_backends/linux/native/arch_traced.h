/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between architectures for threads of another process, one header for each. */
#ifndef GENCORE_ARCH_TRACED_H
#define GENCORE_ARCH_TRACED_H

#include <stdbool.h>

#include "arch.h"

#if defined(__x86_64__)
#include "arch/x86_64_traced.h"
#elif defined(__aarch64__)
#include "arch/aarch64_traced.h"
#endif

/* In a frame of the child the registers of a call without arguments are enough: exit_group(2). */
static inline void arch_fill_exit_frame(struct arch_frame *frame, const arch_registers *regs,
					uintptr_t code, uintptr_t return_code, uintptr_t sp)
{
	static const unsigned long none[6];
	arch_registers exits = *regs;
	arch_fp_registers zeros;

	memset(&zeros, 0, sizeof(zeros));
	arch_enter_call(&exits, code, return_code, sp, SYS_exit_group, none);
	arch_fill_frame(frame, &exits, ~(uint64_t)0, return_code);
#ifdef __aarch64__
	arch_fill_frame_fp(frame, NULL, 0, &zeros, sizeof(zeros));
#endif
}

#endif
