// SPDX-License-Identifier: Apache-2.0
/*
 * The number of a system call, read out of the code of syscall(2)'s caller, wherever that lies:
 * prints for each distance of the return address from the beginning of its page what was read.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "arch.h"

enum { PAGE = 4096, NUMBER = 271 };

#if defined(__x86_64__)
/* mov $NUMBER, %edi; call syscall, and what a compiler puts in between. */
static void write_caller(unsigned char *return_address, int in_between)
{
	const unsigned char load[5] = {0xbf, NUMBER & 255, NUMBER >> 8, 0, 0};

	memset(return_address - 5 - in_between, 0x90, (size_t)(5 + in_between));
	return_address[-5] = 0xe8;
	memcpy(return_address - 10 - in_between, load, sizeof(load));
}

/* With another page before that of the return address, or none. */
static void read_numbers(unsigned char *page, bool first)
{
	for (int in_between = 0; in_between < 60; in_between += 20)
		for (int at = 0; at < 100; at++) {
			if (first && at < 72)
				continue;
			memset(page - (first ? 0 : 128), 0, first ? 128 : 256);
			write_caller(page + at, in_between);
			printf("{\"at\": %d, \"read\": %ld}\n", at,
			       arch_number_of_caller((uintptr_t)page + (uintptr_t)at));
		}
}

int main(void)
{
	unsigned char *pages = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED || mprotect(pages, PAGE, PROT_NONE))
		return 1;
	read_numbers(pages + 2 * PAGE, false);
	read_numbers(pages + PAGE, true);
	printf("{\"at\": -1, \"read\": %ld}\n", arch_number_of_caller((uintptr_t)pages + PAGE));
	return 0;
}
#else
int main(void)
{
	return 77; /* the number stays in its register */
}
#endif
