/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A malloc that is not glibc's, for tests that put its library in place of that: it takes memory
 * from one mapping, writes the size in front, and never gives any back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define HEAD ((size_t)16)
#define ROOM ((size_t)4 << 30)

static char *_Atomic arena;
static _Atomic size_t used;

static char *arena_of(void)
{
	char *known = atomic_load(&arena), *fresh;

	if (known)
		return known;
	fresh = mmap(NULL, ROOM, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (fresh == MAP_FAILED)
		return NULL;
	if (atomic_compare_exchange_strong(&arena, &known, fresh))
		return fresh;
	munmap(fresh, ROOM);
	return known;
}

void *memalign(size_t alignment, size_t size)
{
	size_t step = (alignment < HEAD ? HEAD : alignment) + HEAD + size + HEAD;
	char *base = arena_of(), *at;
	size_t begin;

	if (!base || size > ROOM || step > ROOM - atomic_load(&used))
		return NULL;
	begin = (size_t)base + atomic_fetch_add(&used, step & ~(HEAD - 1)) + HEAD;
	if (alignment < HEAD)
		alignment = HEAD;
	at = (char *)((begin + alignment - 1) & ~(alignment - 1));
	memcpy(at - HEAD, &size, sizeof(size));
	return at;
}

void *malloc(size_t size)
{
	return memalign(HEAD, size);
}

void *calloc(size_t count, size_t size)
{
	size_t bytes;

	return __builtin_mul_overflow(count, size, &bytes) ? NULL : malloc(bytes);
}

void free(void *block)
{
	(void)block;
}

void *realloc(void *block, size_t size)
{
	void *fresh = malloc(size);
	size_t old;

	if (block && fresh) {
		memcpy(&old, (char *)block - HEAD, sizeof(old));
		memcpy(fresh, block, old < size ? old : size);
	}
	return fresh;
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
	*block = memalign(alignment, size);
	return *block ? 0 : ENOMEM;
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}
