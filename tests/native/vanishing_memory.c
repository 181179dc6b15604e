// SPDX-License-Identifier: Apache-2.0
/* Reads memory that another thread maps and unmaps, until it was there and gone often enough. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#include "memory_access.h"

enum { PAGE = 4096, ENOUGH = 20000 };

static _Atomic int done;

static void *map_and_unmap(void *address)
{
	while (!atomic_load(&done)) {
		if (mmap(address, PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			return address;
		munmap(address, PAGE);
	}
	return NULL;
}

int main(void)
{
	void *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int there = 0;
	int gone = 0;
	pthread_t other;
	void *failed;

	if (page == MAP_FAILED || memory_open() ||
	    pthread_create(&other, NULL, map_and_unmap, page))
		return 2;
	while (there < ENOUGH || gone < ENOUGH) {
		uint64_t words[128];
		bool fails = memory_read((uintptr_t)page, words, sizeof(words));

		there += !fails && there < ENOUGH;
		gone += fails && gone < ENOUGH;
	}
	atomic_store(&done, 1);
	memory_close();
	if (pthread_join(other, &failed) || failed)
		return 3;
	printf("{\"there\": %d, \"gone\": %d}\n", there, gone);
	return 0;
}
