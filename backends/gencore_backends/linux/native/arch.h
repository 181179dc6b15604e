/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that differs between architectures, one header for each. */
#ifndef GENCORE_ARCH_H
#define GENCORE_ARCH_H

#include <stddef.h>
#include <stdint.h>

#include "notes.h"
#include "threads.h"

#if defined(__x86_64__) && !defined(__ILP32__)
#include "arch/x86_64.h"
#elif defined(__aarch64__)
#include "arch/aarch64.h"
#else
#error "gencore's Linux backends know x86-64 and aarch64"
#endif

#endif
