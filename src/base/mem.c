#include "base/mem.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(const char *text)
{
	ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
	(void)ignored;
}

void mem_exhausted(void)
{
	say("mlmake: out of memory\n");
	_exit(ERR_NOMEM);
}

void mem_bug(const char *what)
{
	say("mlmake: this is a bug: ");
	say(what);
	say("\n");
	_exit(ERR_BUG);
}

void *mem_alloc(size_t size)
{
	void *ptr = calloc(1, size ? size : 1);
	if (!ptr)
		mem_exhausted();
	return ptr;
}

void *mem_resize(void *ptr, size_t size)
{
	void *moved = realloc(ptr, size ? size : 1);
	if (!moved)
		mem_exhausted();
	return moved;
}

void *mem_resize_array(void *ptr, size_t count, size_t each)
{
	size_t size;
	if (__builtin_mul_overflow(count, each, &size))
		mem_exhausted();
	return mem_resize(ptr, size);
}

void *mem_try(size_t size)
{
	return malloc(size ? size : 1);
}

char *mem_strdup(const char *text)
{
	return text ? mem_strndup(text, strlen(text)) : NULL;
}

char *mem_strndup(const char *text, size_t len)
{
	char *copy = mem_resize(NULL, len + 1);
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

char *mem_vprintf(const char *fmt, va_list args)
{
	char *text = NULL;
	if (vasprintf(&text, fmt, args) < 0)
		mem_exhausted();
	return text;
}

char *mem_printf(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	char *text = mem_vprintf(fmt, args);
	va_end(args);
	return text;
}

void mem_free_ptr(void *pointer_to_pointer)
{
	void *ptr;
	memcpy(&ptr, pointer_to_pointer, sizeof(ptr));
	free(ptr);
}

#define ARENA_ALIGN 16
#define ARENA_FIRST_BLOCK 1024
#define ARENA_MAX_BLOCK (1u << 20)

struct arena_block {
	struct arena_block *next;
	size_t size; /* of the whole block, header included */
	size_t used;
	size_t padding;
};
_Static_assert(sizeof(struct arena_block) % ARENA_ALIGN == 0, "allocations after the header stay aligned");

static struct arena_block *add_block(struct arena *arena, size_t need)
{
	struct arena_block *block = arena->block;
	size_t grown = block ? block->size * 2 : ARENA_FIRST_BLOCK;
	if (grown > ARENA_MAX_BLOCK)
		grown = ARENA_MAX_BLOCK;
	if (grown < need + sizeof(*block))
		grown = need + sizeof(*block);
	struct arena_block *fresh = mem_resize(NULL, grown);
	*fresh = (struct arena_block){ .size = grown, .used = sizeof(*fresh) };
	/* An outsized block goes behind the current one, whose free room stays in use. */
	if (block && grown - sizeof(*fresh) == need) {
		fresh->next = block->next;
		block->next = fresh;
	} else {
		fresh->next = block;
		arena->block = fresh;
	}
	return fresh;
}

/* align is a power of two, ARENA_ALIGN at most. */
static void *take(struct arena *arena, size_t size, size_t align)
{
	struct arena_block *block = arena->block;
	if (size > SIZE_MAX / 2)
		mem_exhausted();
	size_t used = block ? (block->used + align - 1) & ~(align - 1) : 0;
	if (!block || used > block->size || block->size - used < size) {
		block = add_block(arena, size);
		used = block->used;
	}
	block->used = used + size;
	return (char *)block + used;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	/* A type's size is a multiple of its alignment. */
	size_t align = size & ~(size - 1);
	void *at = take(arena, size, !align || align > ARENA_ALIGN ? ARENA_ALIGN : align);
	return memset(at, 0, size);
}

char *arena_strndup(struct arena *arena, const char *text, size_t len)
{
	char *copy = take(arena, len + 1, 1);
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	return text ? arena_strndup(arena, text, strlen(text)) : NULL;
}

char *arena_join(struct arena *arena, const char *dir, const char *name)
{
	size_t dir_len = strlen(dir), name_len = strlen(name);
	char *text = take(arena, dir_len + 1 + name_len + 1, 1);
	memcpy(text, dir, dir_len);
	text[dir_len] = '/';
	memcpy(text + dir_len + 1, name, name_len + 1);
	return text;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (len < 0)
		mem_exhausted();
	char *text = take(arena, (size_t)len + 1, 1);
	vsnprintf(text, (size_t)len + 1, fmt, again);
	va_end(again);
	return text;
}

void arena_release(struct arena *arena)
{
	struct arena_block *block = arena->block;
	while (block) {
		struct arena_block *next = block->next;
		free(block);
		block = next;
	}
	arena->block = NULL;
}
