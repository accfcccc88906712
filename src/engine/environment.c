#include "engine/environment.h"

#include "base/path.h"
#include "base/sys.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MASK_MIN 3 /* masking shorter values would eat the output and hide nothing */

bool environment_passes(const char *name)
{
	static const char *const names[] = { "HOME", "USER", "LOGNAME", "PATH", "LANG", "LANGUAGE", "TERM", "TMPDIR", "TZ", "SSH_AUTH_SOCK",
		"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY",
		"ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS",
		"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE", "PIP_CERT", "PIP_TRUSTED_HOST", "PIP_FIND_LINKS", "PIP_NO_INDEX",
		"PIP_CACHE_DIR", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_CACHE_DIR", "NPM_CONFIG_REGISTRY",
		"npm_config_registry", "CONDA_CHANNELS", "GOPROXY" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return text_starts(name, "LC_") || text_starts(name, "XDG_");
}

/* Where NAME=... is; the end if it is not there. They are few: a search costs less than an index. */
static size_t place_of(const struct environment *env, const char *var, size_t name_len)
{
	size_t i = 0;
	while (i < env->vars.len && (strncmp(env->vars.at[i], var, name_len) != 0 || env->vars.at[i][name_len] != '='))
		i++;
	return i;
}

static void put(struct environment *env, const char *name, const char *value)
{
	char *var = arena_printf(&env->arena, "%s=%s", name, value);
	size_t at = place_of(env, var, strlen(name));
	if (at < env->vars.len)
		env->vars.at[at] = var;
	else
		vec_push(&env->vars, var);
}

static void find_passed(struct environment_passed *passed)
{
	struct environment seen = { 0 };
	char name[64];
	for (char **var = environ; *var; var++) {
		size_t len = strcspn(*var, "=");
		if ((*var)[len] != '=' || len >= sizeof(name))
			continue;
		memcpy(name, *var, len);
		name[len] = 0;
		if (environment_passes(name) && place_of(&seen, *var, len) == seen.vars.len)
			vec_push(&seen.vars, *var);
	}
	passed->vars.at = seen.vars.at;
	passed->vars.len = seen.vars.len;
	passed->known = true;
}

void environment_passed_release(struct environment_passed *passed)
{
	vec_release(&passed->vars);
	passed->known = false;
}

static void put_passed(struct environment *env, struct environment_passed *passed)
{
	if (!passed->known)
		find_passed(passed);
	vec_reserve(&env->vars, passed->vars.len + 8);
	for (size_t i = 0; i < passed->vars.len; i++)
		vec_push(&env->vars, passed->vars.at[i]);
}

static int by_length(const void *a, const void *b)
{
	size_t x = strlen(*(const char *const *)a), y = strlen(*(const char *const *)b);
	return (x < y) - (x > y);
}

/* Output is masked line by line, so the lines of a value are masked one by one. */
static void mask(struct environment *env, const char *value)
{
	struct { const char **at; size_t len, cap; } masks = { env->masks.at, env->masks.len, env->masks.len };
	for (const char *at = value; *at; at += strspn(at, "\r\n")) {
		size_t len = strcspn(at, "\r\n");
		if (len >= MASK_MIN)
			vec_push(&masks, arena_strndup(&env->arena, at, len));
		at += len;
	}
	env->masks.at = masks.at;
	env->masks.len = masks.len;
}

void environment_add_path(struct buf *out, const char *root, const struct target *target)
{
	const char *path = sys.getenv("PATH");
	for (size_t i = 0; i < target->settings->env.len; i++)
		if (strcmp(target->settings->env.at[i].name, "PATH") == 0)
			path = target->settings->env.at[i].value;
	for (size_t i = 0; i < target->path_front.len; i++) {
		path_join(out, root, target->path_front.at[i]);
		buf_addch(out, ':');
	}
	buf_addstr(out, path ? path : "/usr/local/bin:/usr/bin:/bin");
}

void environment_make(struct environment *ret, struct environment_passed *passed, const char *root, const struct target *target)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	*ret = (struct environment){ 0 };
	put_passed(ret, passed);
	for (size_t i = 0; i < target->settings->pass_env.len; i++) {
		const char *value = sys.getenv(target->settings->pass_env.at[i].name);
		if (value)
			put(ret, target->settings->pass_env.at[i].name, value);
	}
	/* What the file says beats what the shell happens to hold. */
	for (size_t i = 0; i < target->settings->env.len; i++)
		put(ret, target->settings->env.at[i].name, target->settings->env.at[i].value);
	environment_add_path(&path, root, target);
	put(ret, "PATH", path.data);
	for (size_t i = 0; i < target->settings->secrets.len; i++) {
		const char *value = sys.getenv(target->settings->secrets.at[i].name);
		if (!value)
			continue;
		put(ret, target->settings->secrets.at[i].name, value);
		mask(ret, value);
	}
	if (ret->masks.len > 1)
		qsort(ret->masks.at, ret->masks.len, sizeof(*ret->masks.at), by_length);
	vec_push(&ret->vars, NULL);
}

const char *environment_get(const struct environment *env, const char *name)
{
	size_t len = strlen(name);
	for (size_t i = 0; env->vars.at[i]; i++)
		if (strncmp(env->vars.at[i], name, len) == 0 && env->vars.at[i][len] == '=')
			return env->vars.at[i] + len + 1;
	return NULL;
}

void environment_set(struct environment *env, const char *name, const char *value)
{
	char *var = arena_printf(&env->arena, "%s=%s", name, value);
	size_t len = strlen(name) + 1, last = env->vars.len - 1;
	for (size_t i = 0; i < last; i++) {
		if (strncmp(env->vars.at[i], var, len) != 0)
			continue;
		env->vars.at[i] = var;
		return;
	}
	env->vars.at[last] = var;
	vec_push(&env->vars, NULL);
}

void environment_release(struct environment *env)
{
	vec_release(&env->vars);
	free(env->masks.at);
	arena_release(&env->arena);
	*env = (struct environment){ 0 };
}

void environment_add_masked(const struct environment *env, struct buf *out, const char *text, size_t len)
{
	const char *end = text + len;
	while (text < end) {
		size_t hit = 0;
		for (size_t i = 0; i < env->masks.len && !hit; i++) {
			size_t mask_len = strlen(env->masks.at[i]);
			if (mask_len <= (size_t)(end - text) && memcmp(text, env->masks.at[i], mask_len) == 0)
				hit = mask_len;
		}
		if (hit)
			buf_addstr(out, "***");
		else
			buf_addch(out, *text);
		text += hit ? hit : 1;
	}
}
