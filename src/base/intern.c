#include "base/intern.h"

#include <string.h>

static const char *string_at(const void *ctx, uint32_t number)
{
	const struct intern *intern = ctx;
	return intern->strings.at[number];
}

const char *intern_strn(struct intern *intern, const char *text, size_t len)
{
	intern->index.key = string_at;
	intern->index.ctx = intern;
	uint32_t found = index_find(&intern->index, text, len);
	if (found != INDEX_NONE)
		return intern->strings.at[found];
	vec_push(&intern->strings, arena_strndup(intern->arena, text, len));
	index_add(&intern->index, (uint32_t)intern->strings.len - 1);
	return intern->strings.at[intern->strings.len - 1];
}

const char *intern_str(struct intern *intern, const char *text)
{
	return intern_strn(intern, text, strlen(text));
}

void intern_release(struct intern *intern)
{
	index_release(&intern->index);
	vec_release(&intern->strings);
}
