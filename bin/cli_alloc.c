/*
 * cli_alloc: the first few allocations of a tool, from zeroed memory that it
 * has anyway.
 *
 * libc's first malloc() costs half a dozen system calls and page faults, a
 * tenth of what a tool takes that stores one record.  So the linker is told
 * to call these instead (--wrap; see the Makefile).  Once the arena is used
 * up, which any larger task does at once, libc is asked.  What is freed in
 * the arena stays unused.
 *
 * Two threads that allocate take their bytes with one atomic addition.  The
 * counter is not zero at first, so that it lies where other data is written
 * anyway; the arena is common, so that it lies behind all that is small.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARENA	((size_t)32 << 10)
#define ALIGN	((size_t)16)

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

__attribute__((common, aligned(4096))) uint8_t cli_arena[ARENA];
static _Atomic size_t used = ALIGN;

static int
is_ours(const void *p)
{
	return (uintptr_t)p - (uintptr_t)cli_arena < ARENA;
}

/* The bytes before a piece say how long it is. */
static void *
take(size_t n)
{
	size_t len, at;

	if (n > ARENA - 2 * ALIGN || atomic_load_explicit(&used,
	    memory_order_relaxed) > ARENA - 2 * ALIGN - n)
		return NULL;
	len = ALIGN + (n + ALIGN - 1) / ALIGN * ALIGN;
	at = atomic_fetch_add_explicit(&used, len, memory_order_relaxed);
	if (at > ARENA - len)
		return NULL;
	memcpy(cli_arena + at, &n, sizeof(n));
	return cli_arena + at + ALIGN;
}

void *
__wrap_malloc(size_t n)
{
	void *p = take(n);

	return p != NULL ? p : __real_malloc(n);
}

/* The arena is zero, and no piece is used twice. */
void *
__wrap_calloc(size_t n, size_t size)
{
	size_t len;
	void *p = NULL;

	if (!__builtin_mul_overflow(n, size, &len))
		p = take(len);
	return p != NULL ? p : __real_calloc(n, size);
}

void *
__wrap_realloc(void *old, size_t n)
{
	size_t len;
	void *p;

	if (!is_ours(old))
		return old == NULL ? __wrap_malloc(n) : __real_realloc(old, n);
	memcpy(&len, (uint8_t *)old - ALIGN, sizeof(len));
	if (n <= len)
		return old;
	if ((p = __wrap_malloc(n)) != NULL)
		memcpy(p, old, len);
	return p;
}

void
__wrap_free(void *p)
{
	if (!is_ours(p))
		__real_free(p);
}
