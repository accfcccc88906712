/*
 * Growing arrays of any type.
 *
 *     VEC(const char *) names = { 0 };
 *     vec_push(&names, "a");
 *     for (size_t i = 0; i < names.len; i++) use(names.at[i]);
 *     vec_release(&names);          (frees the array, not what it points to)
 */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include "base/mem.h"

#include <stdlib.h>

#define VEC(type)            \
	struct {             \
		type *at;    \
		size_t len;  \
		size_t cap;  \
	}

#define vec_reserve(v, extra)                                                                     \
	do {                                                                                      \
		size_t vec_need_ = (v)->len + (extra);                                            \
		if (vec_need_ > (v)->cap) {                                                       \
			(v)->cap = vec_need_ > 2 * (v)->cap ? vec_need_ : 2 * (v)->cap;           \
			(v)->at = mem_resize_array((v)->at, (v)->cap, sizeof(*(v)->at));          \
		}                                                                                 \
	} while (0)

#define vec_push(v, ...)                                    \
	do {                                                \
		if ((v)->len == (v)->cap)                   \
			vec_reserve((v), (v)->cap ? 1 : 8); \
		(v)->at[(v)->len++] = (__VA_ARGS__);        \
	} while (0)

#define vec_release(v)                       \
	do {                                 \
		free((v)->at);               \
		(v)->at = NULL;              \
		(v)->len = (v)->cap = 0;     \
	} while (0)

#define vec_sort(v, compare)                                                        \
	do {                                                                        \
		if ((v)->len > 1)                                                   \
			qsort((v)->at, (v)->len, sizeof(*(v)->at), (compare));      \
	} while (0)

/* An owned list of owned strings. Zero-initialise. */
struct strlist {
	char **at;
	size_t len;
	size_t cap;
};
void strlist_add(struct strlist *list, const char *text); /* copies */
void strlist_take(struct strlist *list, char *text);      /* takes ownership */
void strlist_add_all(struct strlist *list, const struct strlist *from); /* copies */
void strlist_sort(struct strlist *list);                  /* by bytes */
void strlist_unique(struct strlist *list);                /* of a sorted list */
bool strlist_has(const struct strlist *list, const char *text);
void strlist_release(struct strlist *list);

#endif
