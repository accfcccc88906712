#include "formats/yaml_scalar.h"

#include "base/text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool one_of(const char *text, const char *const words[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(text, words[i]) == 0)
			return true;
	}
	return false;
}

static const char *skip_digits(const char *p)
{
	while (*p >= '0' && *p <= '9')
		p++;
	return p;
}

/* 0o17, 0xff: digits after the prefix, all of them in the base. */
static bool is_based(const char *text, char letter, const char *digits)
{
	return text[0] == '0' && text[1] == letter && text[2] && strspn(text + 2, digits) == strlen(text + 2);
}

static void set_integer(struct yaml_node *node, const char *digits, int base)
{
	errno = 0;
	long long value = strtoll(digits, NULL, base);
	if (errno == 0) {
		node->kind = YAML_INT;
		node->integer = value;
		return;
	}
	node->kind = YAML_FLOAT;
	node->real = 0;
	bool negative = *digits == '-';
	for (const char *p = digits + (*digits == '-' || *digits == '+'); *p; p++) {
		int digit = *p <= '9' ? *p - '0' : (*p | 0x20) - 'a' + 10;
		node->real = node->real * base + digit;
	}
	if (base == 10)
		node->real = strtod(digits, NULL);
	else if (negative)
		node->real = -node->real;
}

/* [-+]? ( . digits | digits [. digits?] ) [ e [-+]? digits ] */
static bool is_float(const char *text)
{
	const char *p = text + (*text == '-' || *text == '+');
	const char *digits = p;
	p = skip_digits(p);
	bool some = p > digits;
	if (*p == '.') {
		const char *fraction = ++p;
		p = skip_digits(p);
		some = some || p > fraction;
	}
	if (!some)
		return false;
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '-' || *p == '+';
		const char *exponent = p;
		p = skip_digits(p);
		if (p == exponent)
			return false;
	}
	return *p == '\0';
}

static bool resolve_number(struct yaml_node *node)
{
	static const char *const infinities[] = { ".inf", ".Inf", ".INF" };
	static const char *const nans[] = { ".nan", ".NaN", ".NAN" };
	const char *text = node->text;
	const char *unsigned_text = text + (*text == '-' || *text == '+');
	if (*unsigned_text && *skip_digits(unsigned_text) == '\0') {
		set_integer(node, text, 10);
	} else if (is_based(text, 'o', "01234567")) {
		set_integer(node, text + 2, 8);
	} else if (is_based(text, 'x', "0123456789abcdefABCDEF")) {
		set_integer(node, text + 2, 16);
	} else if (is_float(text)) {
		node->kind = YAML_FLOAT;
		node->real = strtod(text, NULL);
	} else if (one_of(unsigned_text, infinities, ARRAY_LEN(infinities))) {
		node->kind = YAML_FLOAT;
		node->real = *text == '-' ? -INFINITY : INFINITY;
	} else if (one_of(text, nans, ARRAY_LEN(nans))) {
		node->kind = YAML_FLOAT;
		node->real = NAN;
	} else {
		return false;
	}
	return true;
}

void yaml_scalar_resolve(struct yaml_node *node)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
	static const char *const trues[] = { "true", "True", "TRUE" };
	static const char *const falses[] = { "false", "False", "FALSE" };
	node->kind = YAML_STR;
	if (strlen(node->text) != node->text_len)
		return;
	/* Most scalars begin as nothing but a string can. */
	if (node->text[0] && !strchr("~nNtTfF+-.0123456789", node->text[0]))
		return;
	if (one_of(node->text, nulls, ARRAY_LEN(nulls))) {
		node->kind = YAML_NULL;
	} else if (one_of(node->text, trues, ARRAY_LEN(trues))) {
		node->kind = YAML_BOOL;
		node->boolean = true;
	} else if (one_of(node->text, falses, ARRAY_LEN(falses))) {
		node->kind = YAML_BOOL;
	} else {
		resolve_number(node);
	}
}
