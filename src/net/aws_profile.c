#include "net/aws_profile.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE (1024 * 1024)

static const char *env_of(const char *name)
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

/* The profile that a section line is about ("[profile x]", "[x]"); NULL if it is about something else. */
static const char *section_profile(char *line, bool config_file)
{
	char *end = strchr(line, ']');
	if (end)
		*end = '\0';
	char *name = trim(line + 1);
	if (config_file && strcmp(name, "default") != 0) {
		if (strncmp(name, "profile", 7) != 0 || !isspace((unsigned char)name[7]))
			return NULL;
		name = trim(name + 7);
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

static void read_lines(char *text, bool config_file, const char *profile, struct map *map, bool *found)
{
	bool mine = false;
	char *group OWNED = mem_strdup("");
	for (char *line, *rest = text; (line = strsep(&rest, "\n")) != NULL;) {
		bool indented = *line == ' ' || *line == '\t';
		line = trim(line);
		if (!*line || *line == '#' || *line == ';')
			continue;
		if (*line == '[' && !indented) {
			mine = text_eq(section_profile(line, config_file), profile);
			*found = *found || mine;
			continue;
		}
		char *equals = strchr(line, '=');
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

static int read_profile(const char *path, bool config_file, const char *profile, struct map *map, bool *found, struct err *err)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	if (fs_read_file(path, MAX_FILE, &text, err) < 0) {
		if (err->sys_errno != ENOENT && err->sys_errno != ENOTDIR && err->sys_errno != EACCES)
			return -1;
		err_release(err);
		return 0;
	}
	read_lines(text.data, config_file, profile, map, found);
	explicit_bzero(text.data, text.len);
	return 0;
}

/* A path that the remote or the environment names, else ~/.aws/name. */
static char *file_path(const char *of_remote, const char *variable, const char *name)
{
	const char *path = of_remote ? of_remote : env_of(variable);
	const char *home = env_of("HOME");
	if (path && !text_starts(path, "~/"))
		return mem_strdup(path);
	if (!home)
		home = "/nonexistent";
	return path ? path_joined(home, path + 2) : mem_printf("%s/.aws/%s", home, name);
}

int aws_profile_load(const struct remote_spec *spec, struct aws_profile *ret, struct err *err)
{
	*ret = (struct aws_profile){ .config = MAP_INIT, .credentials = MAP_INIT };
	const char *name = spec->profile;
	ret->by_remote = name != NULL;
	if (!name)
		name = env_of("AWS_PROFILE");
	if (!name)
		name = env_of("AWS_DEFAULT_PROFILE");
	ret->named = name != NULL;
	ret->name = mem_strdup(name ? name : "default");
	ret->config_path = file_path(spec->config_path, "AWS_CONFIG_FILE", "config");
	ret->credentials_path = file_path(spec->credential_path, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
	int status = read_profile(ret->config_path, true, ret->name, &ret->config, &ret->found, err);
	if (status == 0)
		status = read_profile(ret->credentials_path, false, ret->name, &ret->credentials, &ret->found, err);
	if (status == 0 && ret->named && !ret->found) {
		status = err_set(err, ERR_CONFIG, "the AWS profile '%s' is neither in %s nor in %s", ret->name, ret->config_path,
				 ret->credentials_path);
		err_hint(err, "the profile is named by %s", ret->by_remote ? "the remote's configuration" : "AWS_PROFILE");
	}
	if (status < 0)
		aws_profile_release(ret);
	return status;
}

void aws_profile_release(struct aws_profile *profile)
{
	free(profile->name);
	free(profile->config_path);
	free(profile->credentials_path);
	map_release_values(&profile->config, free);
	map_release_values(&profile->credentials, free);
	*profile = (struct aws_profile){ .config = MAP_INIT, .credentials = MAP_INIT };
}

const char *aws_profile_get(const struct aws_profile *profile, const char *key)
{
	return map_get(&profile->config, key);
}
