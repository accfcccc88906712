#include "formats/regex.h"

#include "base/mem.h"
#include "base/text.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

/* Steps of the matcher, KiB of its heap, and depth of a pattern: a rule that needs more is wrong. */
#define MATCH_LIMIT 1000000u
#define HEAP_LIMIT 20000u
#define NEST_LIMIT 100u
#define MAX_PATTERN ((size_t)64 * 1024)

struct regex {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *context;
	char *pattern;
};

static uint32_t options_of(unsigned flags)
{
	uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C;
	options |= flags & REGEX_CASELESS ? PCRE2_CASELESS : 0;
	options |= flags & REGEX_MULTILINE ? PCRE2_MULTILINE : 0;
	options |= flags & REGEX_DOTALL ? PCRE2_DOTALL : 0;
	options |= flags & REGEX_ANCHORED_BOTH ? PCRE2_ANCHORED | PCRE2_ENDANCHORED : 0;
	return options;
}

static void message_of(int code, char text[256])
{
	if (pcre2_get_error_message(code, (PCRE2_UCHAR *)text, 256) < 0)
		text[0] = '\0';
}

static int compile_error(const char *pattern, int code, size_t offset, struct err *err)
{
	char text[256];
	message_of(code, text);
	err_set(err, ERR_CONFIG, "invalid pattern '%s': %s at offset %zu", pattern, text, offset);
	return err_hint(err, "the patterns are those of PCRE2: quote . * + ? ( [ { | \\ ^ $ with a backslash to mean them literally");
}

int regex_new(struct regex **ret, const char *pattern, unsigned flags, struct err *err)
{
	int code;
	PCRE2_SIZE offset;
	*ret = NULL;
	if (strlen(pattern) > MAX_PATTERN)
		return err_set(err, ERR_CONFIG, "a pattern of more than 64 KiB");
	pcre2_compile_context *limits = pcre2_compile_context_create(NULL);
	if (!limits)
		return err_set(err, ERR_NOMEM, "out of memory");
	pcre2_set_parens_nest_limit(limits, NEST_LIMIT);
	pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options_of(flags), &code, &offset, limits);
	pcre2_compile_context_free(limits);
	if (!compiled)
		return compile_error(pattern, code, offset, err);
	struct regex *regex = mem_alloc(sizeof(*regex));
	regex->code = compiled;
	regex->pattern = mem_strdup(pattern);
	regex->data = pcre2_match_data_create_from_pattern(compiled, NULL);
	regex->context = pcre2_match_context_create(NULL);
	if (!regex->data || !regex->context) {
		regex_free(regex);
		return err_set(err, ERR_NOMEM, "out of memory");
	}
	pcre2_set_match_limit(regex->context, MATCH_LIMIT);
	pcre2_set_heap_limit(regex->context, HEAP_LIMIT);
	*ret = regex;
	return 0;
}

void regex_free(struct regex *regex)
{
	if (!regex)
		return;
	pcre2_match_context_free(regex->context);
	pcre2_match_data_free(regex->data);
	pcre2_code_free(regex->code);
	free(regex->pattern);
	free(regex);
}

void regex_freep(struct regex **regex)
{
	regex_free(*regex);
	*regex = NULL;
}

static void take_groups(const struct regex *regex, size_t count, struct regex_match *m)
{
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(regex->data);
	uint32_t groups;
	pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &groups);
	m->count = groups + 1 < REGEX_MAX_GROUPS ? groups + 1 : REGEX_MAX_GROUPS;
	for (size_t i = 0; i < REGEX_MAX_GROUPS; i++) {
		bool part = i < count && i < m->count && at[2 * i] != PCRE2_UNSET;
		m->groups[i].start = part ? at[2 * i] : SIZE_MAX;
		m->groups[i].end = part ? at[2 * i + 1] : SIZE_MAX;
	}
	/* \K in a lookahead can put the end before the start. */
	if (m->groups[0].end < m->groups[0].start)
		m->groups[0].end = m->groups[0].start;
}

static int run(struct regex *regex, const char *text, size_t len, size_t from, uint32_t options, struct regex_match *m, struct err *err)
{
	int count = pcre2_match(regex->code, (PCRE2_SPTR)text, len, from, options, regex->data, regex->context);
	if (count == PCRE2_ERROR_NOMATCH)
		return 0;
	if (count < 0) {
		char message[256];
		message_of(count, message);
		err_set(err, ERR_FAILED, "the pattern '%s' gave up: %s", regex->pattern, message);
		return err_hint(err, "repetitions within repetitions, such as (a+)+, take too long; write the pattern without them");
	}
	if (m)
		take_groups(regex, (size_t)count, m);
	return 1;
}

int regex_next(struct regex *regex, const char *text, size_t len, struct regex_match *m, struct err *err)
{
	/* After an empty match, a longer one may begin at the same place; else go on one character later. */
	if (m->next > len)
		return 0;
	uint32_t options = m->was_empty ? PCRE2_NOTEMPTY_ATSTART | PCRE2_ANCHORED : 0;
	int found = run(regex, text, len, m->next, options, m, err);
	if (found == 0 && m->was_empty) {
		do
			m->next++;
		while (m->next < len && ((unsigned char)text[m->next] & 0xc0) == 0x80);
		found = m->next > len ? 0 : run(regex, text, len, m->next, 0, m, err);
	}
	if (found > 0) {
		m->was_empty = m->groups[0].end == m->groups[0].start;
		m->next = m->groups[0].end;
	}
	return found;
}

int regex_match(struct regex *regex, const char *text, size_t len, struct regex_match *m, struct err *err)
{
	return run(regex, text, len, 0, 0, m, err);
}

int regex_group_index(const struct regex *regex, const char *name)
{
	int number = pcre2_substring_number_from_name(regex->code, (PCRE2_SPTR)name);
	return number < 0 ? -1 : number;
}

bool regex_add_group(struct buf *out, const struct regex_match *m, size_t group, const char *text)
{
	if (group >= m->count || m->groups[group].start == SIZE_MAX)
		return false;
	buf_add(out, text + m->groups[group].start, m->groups[group].end - m->groups[group].start);
	return true;
}
