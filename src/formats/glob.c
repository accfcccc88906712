#include "formats/ignore.h"

#include "base/buf.h"

#include <ctype.h>
#include <string.h>

struct char_class {
	const char *name;
	int (*is)(int c);
};

static const struct char_class char_classes[] = {
	{"alnum", isalnum}, {"alpha", isalpha}, {"blank", isblank}, {"cntrl", iscntrl},
	{"digit", isdigit}, {"graph", isgraph}, {"lower", islower}, {"print", isprint},
	{"punct", ispunct}, {"space", isspace}, {"upper", isupper}, {"xdigit", isxdigit},
};

/* *p is behind "[:". Moves it to the last character of ":]". Returns 1 or 0 for in and not in the class, -1 if this is
 * a plain set that holds '[' and ':', -2 for a malformed or unknown class. */
static int match_named_class(const char **p, unsigned char c)
{
	const char *end = strchr(*p, ']');
	if (end == NULL)
		return -2;
	if (end == *p || end[-1] != ':')
		return -1;
	size_t len = (size_t)(end - *p) - 1;
	for (size_t i = 0; i < ARRAY_LEN(char_classes); i++)
		if (strlen(char_classes[i].name) == len && memcmp(char_classes[i].name, *p, len) == 0) {
			*p = end;
			return char_classes[i].is(c) != 0;
		}
	return -2;
}

/* Whether c is in the bracket expression that *pattern points to; moves *pattern behind it. False for a malformed one.
 * The steps are those of git's wildmatch, so that odd sets ("[]-a]", "[a-]") mean the same. */
static bool match_set(const char **pattern, unsigned char c)
{
	const char *p = *pattern + 1;
	bool negated = *p == '!' || *p == '^';
	if (negated)
		p++;
	bool in = false;
	unsigned char previous = 0;
	do {
		unsigned char set = (unsigned char)*p;
		if (set == 0)
			return false;
		if (set == '\\') {
			set = (unsigned char)*++p;
			if (set == 0)
				return false;
			in |= c == set;
		} else if (set == '-' && previous != 0 && p[1] != 0 && p[1] != ']') {
			if (*++p == '\\')
				p++;
			if (*p == 0)
				return false;
			in |= c >= previous && c <= (unsigned char)*p;
			set = 0;
		} else if (set == '[' && p[1] == ':') {
			const char *name = p + 2;
			int found = match_named_class(&name, c);
			if (found == -2)
				return false;
			if (found == -1) {
				in |= c == '[';
			} else {
				in |= found == 1;
				p = name;
				set = 0;
			}
		} else {
			in |= c == set;
		}
		previous = set;
	} while (*++p != ']');
	*pattern = p + 1;
	return in != negated && c != '/';
}

/* Whether p, at the start of a component, is a component of two or more stars alone; *ret_rest is what follows the
 * stars. */
static bool is_double_star(const char *p, const char **ret_rest)
{
	size_t stars = strspn(p, "*");
	*ret_rest = p + stars;
	return stars >= 2 && (p[stars] == 0 || p[stars] == '/');
}

/* Matches c (not 0) against the one-character pattern at *p; where it does, *p is behind it. */
static bool match_one(const char **p, char c)
{
	const char *at = *p;
	if (*at == '[')
		return match_set(p, (unsigned char)c);
	if (*at == '?') {
		*p = at + 1;
		return c != '/';
	}
	if (*at == '\\')
		at++;
	*p = at + 1;
	return *at == c;
}

/*
 * One pass with two places to go back to: the last '*' (which may take one character more, up to the next '/') and the
 * last
 * '**' (one component more). Earlier ones need no second look: a later '**' can take whatever they gave up, and a '*'
 * before it has a fixed component to itself. So time is at most pattern x text for '*', times the components for '**'.
 *
 * below: text is a directory with a '/' behind it, and the question is whether something in it could match.
 */
static bool wild(const char *pattern, const char *text, bool below)
{
	const char *p = pattern, *t = text;
	const char *star_p = NULL, *star_t = NULL, *deep_p = NULL, *deep_t = NULL;

	for (;;) {
		const char *rest;
		bool component = p == pattern || p[-1] == '/';
		if (component && is_double_star(p, &rest)) {
			if (below || *rest == 0)
				return true;
			p = deep_p = rest + 1;
			deep_t = t;
			star_p = NULL;
			continue;
		}
		if (below && *t == 0)
			return *p != 0;
		if (*p == '*') {
			p += strspn(p, "*");
			star_p = p;
			star_t = t;
			continue;
		}
		if (*t == 0) {
			/* What is left of the pattern needs characters, and going back would only use up more of the
			 * text. */
			return *p == 0;
		}
		if (match_one(&p, *t)) {
			t++;
			continue;
		}
		if (star_p != NULL && *star_t != 0 && *star_t != '/') {
			p = star_p;
			t = ++star_t;
			continue;
		}
		if (deep_p == NULL)
			return false;
		deep_t = strchr(deep_t, '/');
		if (deep_t == NULL)
			return false;
		p = deep_p;
		t = ++deep_t;
		star_p = NULL;
	}
}

bool glob_match_plain(const char *pattern, const char *path)
{
	return wild(pattern, path, false);
}

/* A "{a,b}" with at least one comma of its own. */
struct alternatives {
	const char *open;
	const char *close;
};

static bool group_at(const char *open, struct alternatives *ret)
{
	unsigned depth = 0;
	bool comma = false;
	for (const char *p = open; *p != 0; p++) {
		if (*p == '\\' && p[1] != 0)
			p++;
		else if (*p == '{')
			depth++;
		else if (*p == ',' && depth == 1)
			comma = true;
		else if (*p == '}' && --depth == 0) {
			*ret = (struct alternatives){open, p};
			return comma;
		}
	}
	return false;
}

static bool find_group(const char *pattern, struct alternatives *ret)
{
	for (const char *p = pattern; *p != 0; p++) {
		if (*p == '\\' && p[1] != 0)
			p++;
		else if (*p == '{' && group_at(p, ret))
			return true;
	}
	return false;
}

static bool match_alternatives(const char *pattern, const char *text, bool below, unsigned *budget)
{
	struct alternatives group;
	if (*budget == 0)
		return below;
	--*budget;
	if (strchr(pattern, '{') == NULL || !find_group(pattern, &group))
		return wild(pattern, text, below);

	struct buf one CLEANUP(buf_release) = BUF_INIT;
	unsigned depth = 0;
	const char *start = group.open + 1;
	for (const char *p = start; p <= group.close; p++) {
		if (*p == '\\') {
			p++;
			continue;
		}
		if (depth == 0 && (*p == ',' || p == group.close)) {
			buf_reset(&one);
			buf_add(&one, pattern, (size_t)(group.open - pattern));
			buf_add(&one, start, (size_t)(p - start));
			buf_addstr(&one, group.close + 1);
			if (match_alternatives(one.data, text, below, budget))
				return true;
			start = p + 1;
		} else if (*p == '{') {
			depth++;
		} else if (*p == '}') {
			depth--;
		}
	}
	return false;
}

bool glob_match(const char *pattern, const char *path)
{
	unsigned budget = GLOB_MAX_ALTERNATIVES;
	return match_alternatives(pattern, path, false, &budget);
}

bool glob_may_match_below(const char *pattern, const char *dir)
{
	if (*dir == 0)
		return true;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	buf_addf(&text, "%s/", dir);
	unsigned budget = GLOB_MAX_ALTERNATIVES;
	return match_alternatives(pattern, text.data, true, &budget);
}

bool glob_has_magic(const char *pattern)
{
	struct alternatives group;
	return strpbrk(pattern, "*?[\\") != NULL || (strchr(pattern, '{') != NULL && find_group(pattern, &group));
}

size_t glob_literal_dir(const char *pattern)
{
	size_t dir = 0;
	for (size_t i = 0; pattern[i] != 0 && strchr("*?[\\{", pattern[i]) == NULL; i++)
		if (pattern[i] == '/')
			dir = i;
	return dir;
}
