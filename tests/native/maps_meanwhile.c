// SPDX-License-Identifier: Apache-2.0
/* A library: a thread that maps a page and unmaps it, without an end. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAUSE_US = 30 };

static void *map_and_unmap(void *unused)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);

	for (;;) {
		void *page = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		usleep(PAUSE_US);
		munmap(page, size);
		usleep(PAUSE_US);
	}
	return unused;
}

int begin(void)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, map_and_unmap, NULL);
}
