#include "net/aws_profile.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_FILE (1024 * 1024)

const char *aws_env(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

static char *trim(char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	size_t len = strlen(text);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	return text;
}

/* What a section line is about: x of "[kind x]", of "[x]" where kind is NULL; NULL if it is about something else. */
static const char *section_name(char *line, const char *kind)
{
	char *end = strchr(line, ']');
	size_t kind_len = kind ? strlen(kind) : 0;
	if (end)
		*end = '\0';
	char *name = trim(line + 1);
	if (kind && !(text_eq(kind, "profile") && text_eq(name, "default"))) {
		if (strncmp(name, kind, kind_len) != 0 || !isspace((unsigned char)name[kind_len]))
			return NULL;
		name = trim(name + kind_len);
	}
	size_t len = strlen(name);
	if (len >= 2 && (name[0] == '"' || name[0] == '\'') && name[len - 1] == name[0]) {
		name[len - 1] = '\0';
		name++;
	}
	return name;
}

static void set(struct map *map, const char *group, const char *key, const char *value)
{
	char *full OWNED = mem_printf("%s%s%s", group, *group ? "." : "", key);
	for (char *c = full; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	struct map_entry *entry = map_entry(map, full);
	free(entry->value);
	entry->value = mem_strdup(value);
}

static void read_lines(char *text, const char *kind, const char *wanted, struct map *map, bool *found)
{
	bool mine = false;
	char *group OWNED = mem_strdup("");
	for (char *line, *rest = text; (line = strsep(&rest, "\n")) != NULL;) {
		bool indented = *line == ' ' || *line == '\t';
		line = trim(line);
		if (!*line || *line == '#' || *line == ';')
			continue;
		if (*line == '[' && !indented) {
			mine = text_eq(section_name(line, kind), wanted);
			*found = *found || mine;
			continue;
		}
		char *equals = strpbrk(line, indented ? "=" : "=:"); /* as Python's configparser has it */
		if (!mine || !equals)
			continue;
		*equals = '\0';
		char *key = trim(line), *value = trim(equals + 1);
		if (!indented) {
			free(group);
			group = mem_strdup(*value ? "" : key);
		}
		if (*value)
			set(map, indented ? group : "", key, value);
	}
}

/* kind NULL: the credentials file, whose sections are profiles by their bare names. */
static int read_section(const char *path, const char *kind, const char *name, struct map *map, bool *found, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	if (fs_read_file(path, MAX_FILE, &text, err) < 0) {
		if (err->sys_errno != ENOENT && err->sys_errno != ENOTDIR && err->sys_errno != EACCES)
			return -1;
		err_release(err);
		return 0;
	}
	read_lines(text.data, kind, name, map, found);
	explicit_bzero(text.data, text.len);
	return 0;
}

/* A path that the remote or the environment names, else ~/.aws/name. */
static char *file_path(const char *of_remote, const char *variable, const char *name)
{
	const char *path = of_remote ? of_remote : aws_env(variable);
	const char *home = aws_env("HOME");
	if (path && !text_starts(path, "~/"))
		return mem_strdup(path);
	if (!home)
		home = "/nonexistent";
	return path ? path_joined(home, path + 2) : mem_printf("%s/.aws/%s", home, name);
}

static int read_profile(struct aws_profile *profile, struct err *err)
{
	bool found = false;
	if (read_section(profile->config_path, "profile", profile->name, &profile->config, &profile->found, err) < 0 ||
	    read_section(profile->credentials_path, NULL, profile->name, &profile->credentials, &profile->found, err) < 0)
		return -1;
	const char *services = aws_profile_get(profile, "services");
	return services ? read_section(profile->config_path, "services", services, &profile->services, &found, err) : 0;
}

#define EMPTY_PROFILE { .config = MAP_INIT, .credentials = MAP_INIT, .services = MAP_INIT }

int aws_profile_load(const struct remote_spec *spec, struct aws_profile *ret, struct err *err)
{
	*ret = (struct aws_profile)EMPTY_PROFILE;
	const char *name = spec->profile;
	ret->by_remote = name != NULL;
	const char *const variables[] = { "AWS_DEFAULT_PROFILE", "AWS_PROFILE" }; /* in botocore's order */
	const char *by = "the remote's configuration";
	for (size_t i = 0; i < ARRAY_LEN(variables) && !name; i++) {
		by = variables[i];
		name = aws_env(by);
	}
	ret->named = name != NULL;
	ret->name = mem_strdup(name ? name : "default");
	ret->config_path = file_path(spec->config_path, "AWS_CONFIG_FILE", "config");
	ret->credentials_path = file_path(spec->credential_path, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
	int status = read_profile(ret, err);
	if (status == 0 && ret->named && !ret->found) {
		status = err_set(err, ERR_CONFIG, "the AWS profile '%s' is neither in %s nor in %s", ret->name, ret->config_path,
				 ret->credentials_path);
		err_hint(err, "the profile is named by %s", by);
	}
	if (status < 0)
		aws_profile_release(ret);
	return status;
}

int aws_profile_load_other(const struct aws_profile *from, const char *name, struct aws_profile *ret, struct err *err)
{
	*ret = (struct aws_profile)EMPTY_PROFILE;
	ret->by_remote = ret->named = true;
	ret->name = mem_strdup(name);
	ret->config_path = mem_strdup(from->config_path);
	ret->credentials_path = mem_strdup(from->credentials_path);
	int status = read_profile(ret, err);
	if (status == 0 && !ret->found) {
		status = err_set(err, ERR_CONFIG, "the AWS profile '%s' is neither in %s nor in %s", name, ret->config_path, ret->credentials_path);
		err_hint(err, "the profile is named as source_profile of '%s'", from->name);
	}
	if (status < 0)
		aws_profile_release(ret);
	return status;
}

int aws_profile_section(const struct aws_profile *profile, const char *kind, const char *name, struct map *ret, bool *ret_found,
			struct err *err)
{
	*ret_found = false;
	return read_section(profile->config_path, kind, name, ret, ret_found, err);
}

void aws_profile_release(struct aws_profile *profile)
{
	free(profile->name);
	free(profile->config_path);
	free(profile->credentials_path);
	map_release_values(&profile->config, free);
	map_release_values(&profile->credentials, free);
	map_release_values(&profile->services, free);
	*profile = (struct aws_profile)EMPTY_PROFILE;
}

const char *aws_profile_get(const struct aws_profile *profile, const char *key)
{
	return map_get(&profile->config, key);
}

const char *aws_profile_value(const struct aws_profile *profile, const char *key)
{
	const char *value = map_get(&profile->credentials, key);
	return value ? value : map_get(&profile->config, key);
}

static bool is_true(const char *text)
{
	return text && strcasecmp(text, "true") == 0;
}

const char *aws_profile_endpoint(const struct aws_profile *profile, const char *service)
{
	char *variable OWNED = mem_printf("AWS_ENDPOINT_URL_%s", service);
	char *key OWNED = mem_printf("%s.endpoint_url", service);
	if (is_true(aws_env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")) || is_true(aws_profile_get(profile, "ignore_configured_endpoint_urls")))
		return NULL;
	for (char *c = variable; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	const char *const urls[] = { aws_env(variable), aws_env("AWS_ENDPOINT_URL"), map_get(&profile->services, key),
				     aws_profile_get(profile, "endpoint_url") };
	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		if (urls[i] && *urls[i])
			return urls[i];
	}
	return NULL;
}
