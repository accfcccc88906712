#include "base/vec.h"

#include <string.h>

void strlist_take(struct strlist *list, char *text)
{
	vec_push(list, text);
}

void strlist_add(struct strlist *list, const char *text)
{
	strlist_take(list, mem_strdup(text));
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void strlist_add_all(struct strlist *list, const struct strlist *from)
{
	for (size_t i = 0; i < from->len; i++)
		strlist_add(list, from->at[i]);
}

void strlist_sort(struct strlist *list)
{
	vec_sort(list, compare_strings);
}

void strlist_unique(struct strlist *list)
{
	size_t kept = 0;
	for (size_t i = 0; i < list->len; i++) {
		if (kept && strcmp(list->at[kept - 1], list->at[i]) == 0)
			free(list->at[i]);
		else
			list->at[kept++] = list->at[i];
	}
	list->len = kept;
}

bool strlist_has(const struct strlist *list, const char *text)
{
	for (size_t i = 0; i < list->len; i++)
		if (strcmp(list->at[i], text) == 0)
			return true;
	return false;
}

void strlist_release(struct strlist *list)
{
	for (size_t i = 0; i < list->len; i++)
		free(list->at[i]);
	vec_release(list);
}
