#include "features/data/config.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/sys.h"
#include "base/text.h"
#include "features/data/packed.h"

#include <stdlib.h>
#include <string.h>

static char *global_dir(void)
{
	const char *own = sys.getenv("DVC_GLOBAL_CONFIG_DIR"), *xdg = sys.getenv("XDG_CONFIG_HOME"), *home = sys.getenv("HOME");
	if (own && *own)
		return mem_strdup(own);
	if (xdg && *xdg)
		return path_joined(xdg, "dvc");
	return home && *home ? path_joined(home, ".config/dvc") : NULL;
}

static char *system_dir(void)
{
	const char *own = sys.getenv("DVC_SYSTEM_CONFIG_DIR"), *xdg = sys.getenv("XDG_CONFIG_DIRS");
	if (own && *own)
		return mem_strdup(own);
	if (!xdg || !*xdg)
		return mem_strdup("/etc/xdg/dvc");
	char *first OWNED = mem_strndup(xdg, strcspn(xdg, ":"));
	return path_joined(first, "dvc");
}

static void find_paths(struct data_config *config, const char *root)
{
	char *system OWNED = system_dir();
	char *global OWNED = global_dir();
	config->paths[DATA_SYSTEM] = path_joined(system, "config");
	config->paths[DATA_GLOBAL] = global ? path_joined(global, "config") : NULL;
	config->paths[DATA_PROJECT] = path_joined(root, ".dvc/config");
	config->paths[DATA_LOCAL] = path_joined(root, ".dvc/config.local");
}

const char *config_get(const struct data_config *config, const char *section, const char *name, enum data_level *ret_level)
{
	for (int level = DATA_LEVELS - 1; level >= 0; level--) {
		const char *value = ini_get(&config->files[level], section, name);
		if (!value)
			continue;
		if (ret_level)
			*ret_level = (enum data_level)level;
		return value;
	}
	return NULL;
}

bool config_parse_bool(const char *text, bool *ret)
{
	if (strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0)
		*ret = true;
	else if (strcasecmp(text, "false") == 0 || strcmp(text, "0") == 0)
		*ret = false;
	else
		return false;
	return true;
}

int config_bool(const struct data_config *config, const char *section, const char *name, bool fallback, bool *ret, struct err *err)
{
	enum data_level level;
	const char *value = config_get(config, section, name, &level);
	*ret = fallback;
	if (!value || config_parse_bool(value, ret))
		return 0;
	err_set(err, ERR_CONFIG, "'%s' of %s must be true or false, not '%s'", name, section, value);
	return err_at(err, &ini_find(&config->files[level], section, name)->span);
}

char *config_resolve_path(const struct data_config *config, enum data_level level, const char *value)
{
	struct buf joined CLEANUP(buf_release) = BUF_INIT, dir CLEANUP(buf_release) = BUF_INIT, out = BUF_INIT;
	const char *home = sys.getenv("HOME");
	if (value[0] == '~' && (value[1] == '/' || !value[1]) && home)
		path_join(&joined, home, value[1] ? value + 2 : "");
	else {
		path_dir(&dir, config->paths[level]);
		path_join(&joined, dir.data, value);
	}
	path_normalize(&out, joined.data);
	return buf_detach(&out);
}

static int add_link_type(struct data_config *config, const char *word, size_t len, struct err *err)
{
	static const struct {
		const char *name;
		enum odb_link link;
	} types[] = { { "reflink", ODB_REFLINK }, { "copy", ODB_COPY }, { "hardlink", ODB_HARDLINK }, { "symlink", ODB_SYMLINK } };
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (strlen(types[i].name) == len && strncmp(types[i].name, word, len) == 0 &&
		    config->links.count < ARRAY_LEN(config->links.order)) {
			config->links.order[config->links.count++] = types[i].link;
			return 0;
		}
	err_set(err, ERR_CONFIG, "cache.type has no '%.*s'", (int)len, word);
	return err_hint(err, "it is a list of reflink, hardlink, symlink, copy");
}

static int read_link_types(struct data_config *config, struct err *err)
{
	const char *value = config_get(config, "cache", "type", NULL);
	for (const char *at = value; at && *at;) {
		at += strspn(at, ", \t");
		size_t len = strcspn(at, ", \t");
		if (len && add_link_type(config, at, len, err) < 0)
			return -1;
		at += len;
	}
	return 0;
}

static int interpret(struct data_config *config, struct err *err)
{
	enum data_level level = DATA_PROJECT;
	const char *dir = config_get(config, "cache", "dir", &level);
	config->cache_dir = config_resolve_path(config, level, dir ? dir : "cache");
	config->cache_shared = text_eq(config_get(config, "cache", "shared", NULL), "group");
	const char *remote = config_get(config, "core", "remote", NULL);
	config->default_remote = remote && *remote ? mem_strdup(remote) : NULL;
	if (config_bool(config, "core", "autostage", false, &config->autostage, err) < 0 ||
	    config_bool(config, "core", "no_scm", false, &config->no_scm, err) < 0)
		return -1;
	return read_link_types(config, err);
}

static void begin(struct data_config *config, const char *root)
{
	*config = (struct data_config){ .cache_dir = NULL };
	for (int level = 0; level < DATA_LEVELS; level++)
		config->files[level] = (struct ini)INI_INIT;
	find_paths(config, root);
}

static int read_level(struct data_config *config, enum data_level level, struct err *err)
{
	static const char *const shown[DATA_LEVELS] = { NULL, NULL, ".dvc/config", ".dvc/config.local" };
	const char *path = config->paths[level];
	if (!path || !fs_exists(path))
		return 0;
	return ini_read(&config->files[level], path, shown[level] ? shown[level] : path, err);
}

int config_load(struct data_config *config, const char *root, struct err *err)
{
	begin(config, root);
	for (int level = 0; level < DATA_LEVELS; level++)
		if (read_level(config, (enum data_level)level, err) < 0)
			return -1;
	config->project_file = path_joined(root, "mlmake.yaml");
	return interpret(config, err);
}

/* What may be said by a repository of somebody else: where its data is. Not which files of this machine hold credentials, what is run to
 * get some, or which servers to believe. */
static bool is_harmless(const struct ini_key *key)
{
	static const char *const options[] = { "url", "region", "endpointurl", "jobs", "checksum_jobs", "version_aware", "worktree", "verify",
					       "allow_anonymous_login", "use_ssl", "access_key_id", "secret_access_key", "session_token",
					       "read_timeout", "connect_timeout", "timeout", "user", "password", "auth", "custom_auth_header", "method",
					       "token", "port" };
	if (text_starts(key->section, "remote ")) {
		for (size_t i = 0; i < ARRAY_LEN(options); i++)
			if (text_eq(key->name, options[i]))
				return true;
		return false;
	}
	return (text_eq(key->section, "core") && text_eq(key->name, "remote")) || (text_eq(key->section, "cache") && text_eq(key->name, "dir"));
}

static int keep_harmless(struct ini *ini, struct err *err)
{
	for (size_t i = 0; i < ini->keys.len;) {
		const struct ini_key *key = &ini->keys.at[i];
		bool found;
		if (is_harmless(key)) {
			i++;
			continue;
		}
		char *section OWNED = mem_strdup(key->section), *name OWNED = mem_strdup(key->name);
		if (ini_remove_key(ini, section, name, &found, err) < 0)
			return -1;
		i = 0;
	}
	return 0;
}

int config_load_foreign(struct data_config *config, const char *root, bool is_here, const char *text, size_t len, struct err *err)
{
	begin(config, root);
	if (read_level(config, DATA_SYSTEM, err) < 0 || read_level(config, DATA_GLOBAL, err) < 0 ||
	    ini_parse(&config->files[DATA_PROJECT], ".dvc/config", text, len, err) < 0 ||
	    keep_harmless(&config->files[DATA_PROJECT], err) < 0 || (is_here && read_level(config, DATA_LOCAL, err) < 0))
		return -1;
	return interpret(config, err);
}

void config_release(struct data_config *config)
{
	for (int level = 0; level < DATA_LEVELS; level++) {
		ini_release(&config->files[level]);
		free(config->paths[level]);
	}
	free(config->cache_dir);
	free(config->default_remote);
	free(config->project_file);
	*config = (struct data_config){ .cache_dir = NULL };
}

char *config_remote_section(const char *name)
{
	return mem_printf("remote \"%s\"", name);
}

void config_remote_unknown(const struct data_config *config, const char *name, struct strlist *ret)
{
	const char *chosen = name ? name : config->default_remote, *near;
	char *section OWNED = config_remote_section(chosen ? chosen : "");
	for (int level = 0; level < DATA_LEVELS; level++) {
		const struct ini *ini = &config->files[level];
		for (size_t i = 0; i < ini->keys.len; i++) {
			const struct ini_key *key = &ini->keys.at[i];
			if (strcasecmp(key->section, section) != 0 || config_remote_knows(key->name, &near))
				continue;
			strlist_take(ret, mem_printf("%s:%u: the remote '%s' has the option '%s', which means nothing%s%s%s; dvc refuses the file",
						     config->paths[level], key->span.line, chosen, key->name, near ? ": did you mean '" : "",
						     near ? near : "", near ? "'?" : ""));
		}
	}
}

/* One remote's options. With `url = remote://other/sub` those of the other one count where this one is silent. */
struct remote_options {
	const struct data_config *config;
	char *sections[8];
	size_t len;
	struct arena *arena;
};

static const char *option_text(const struct remote_options *options, const char *name, enum data_level *ret_level)
{
	for (size_t i = 0; i < options->len; i++) {
		const char *value = config_get(options->config, options->sections[i], name, ret_level);
		if (value)
			return arena_strdup(options->arena, value);
	}
	return NULL;
}

static const char *option_path(const struct remote_options *options, const char *name)
{
	enum data_level level;
	const char *value = option_text(options, name, &level);
	if (!value)
		return NULL;
	char *path OWNED = config_resolve_path(options->config, level, value);
	return arena_strdup(options->arena, path);
}

/* The next ones take what check_values has found good. */
static void option_uint(const struct remote_options *options, const char *name, unsigned *ret)
{
	uint64_t number;
	const char *value = option_text(options, name, NULL);
	if (value && text_parse_u64(value, &number))
		*ret = (unsigned)number;
}

/* Seconds, of which dvc takes fractions. */
static void option_seconds(const struct remote_options *options, const char *name, unsigned *ret)
{
	const char *value = option_text(options, name, NULL);
	if (!value)
		return;
	double seconds = strtod(value, NULL);
	*ret = (unsigned)seconds + (seconds > (unsigned)seconds);
}

static int option_bool(const struct remote_options *options, const char *name, bool fallback, bool *ret, struct err *err)
{
	*ret = fallback;
	for (size_t i = 0; i < options->len; i++)
		if (config_get(options->config, options->sections[i], name, NULL))
			return config_bool(options->config, options->sections[i], name, fallback, ret, err);
	return 0;
}

/* Follows remote:// and gives the URL that counts. first: the remote's own url, where the config files do not say it. */
static int remote_url(struct remote_options *options, const char *name, const char *first, struct buf *ret, struct err *err)
{
	struct buf sub CLEANUP(buf_release) = BUF_INIT;
	char *next OWNED = mem_strdup(name);
	while (options->len < ARRAY_LEN(options->sections)) {
		char *section = options->sections[options->len++] = config_remote_section(next);
		enum data_level level = DATA_PROJECT;
		const char *url = first ? first : config_get(options->config, section, "url", &level);
		first = NULL;
		if (!url && options->len > 1) {
			err_set(err, ERR_CONFIG, "the url of the remote '%s' leads to '%s', which has no url", name, next);
			return err_hint(err, "mlmake data remote list shows the remotes that there are");
		}
		if (!url)
			return err_set(err, ERR_CONFIG, "the remote '%s' has no url", next);
		const char *example;
		if (remote_url_is_slip(url, &example))
			return remote_check_url(name, url, err);
		if (!text_starts(url, "remote://")) {
			char *path OWNED = strstr(url, "://") ? mem_strdup(url) : config_resolve_path(options->config, level, url);
			path_join(ret, text_starts(path, "file://") ? path + 7 : path, sub.data);
			if (text_ends(ret->data, "/") && ret->len > 1)
				buf_truncate(ret, ret->len - 1);
			return 0;
		}
		const char *rest = url + strlen("remote://");
		size_t len = strcspn(rest, "/");
		struct buf joined CLEANUP(buf_release) = BUF_INIT;
		if (rest[len])
			path_join(&joined, rest + len + 1, sub.data);
		else
			buf_addstr(&joined, sub.data);
		buf_setstr(&sub, joined.data);
		free(next);
		next = mem_strndup(rest, len);
	}
	return err_set(err, ERR_CONFIG, "the url of the remote '%s' leads through too many remotes", name);
}

/* All that stands there, also what another file overrides: dvc refuses a file for one bad value. */
static int check_values(const struct remote_options *options, struct err *err)
{
	for (size_t at = 0; at < options->len; at++) {
		const char *section = options->sections[at];
		char *name OWNED = mem_strndup(section + strlen("remote \""), strlen(section) - strlen("remote \"\""));
		for (int level = 0; level < DATA_LEVELS; level++) {
			const struct ini *ini = &options->config->files[level];
			for (size_t i = 0; i < ini->keys.len; i++) {
				const struct ini_key *key = &ini->keys.at[i];
				if (strcasecmp(key->section, section) == 0 && config_remote_check_value(name, key->name, key->value, err) < 0)
					return err_at(err, &key->span);
			}
		}
	}
	return 0;
}

static void fill_texts(const struct remote_options *options, struct remote_spec *ret)
{
	const struct {
		const char *name, **to;
	} texts[] = {
		{ "sse", &ret->sse },
		{ "sse_kms_key_id", &ret->sse_kms_key_id },
		{ "sse_customer_algorithm", &ret->sse_customer_algorithm },
		{ "sse_customer_key", &ret->sse_customer_key },
		{ "acl", &ret->acl },
		{ "grant_read", &ret->grant_read },
		{ "grant_read_acp", &ret->grant_read_acp },
		{ "grant_write_acp", &ret->grant_write_acp },
		{ "grant_full_control", &ret->grant_full_control },
		{ "user", &ret->user },
		{ "password", &ret->password },
		{ "auth", &ret->auth },
		{ "custom_auth_header", &ret->custom_auth_header },
		{ "token", &ret->token },
		{ "method", &ret->method },
	};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		*texts[i].to = option_text(options, texts[i].name, NULL);
}

static int fill_spec(const struct remote_options *options, struct remote_spec *ret, struct err *err)
{
	enum data_level level;
	bool use_ssl = true, verify = true;
	const char *ssl_verify = option_text(options, "ssl_verify", &level);
	ret->region = option_text(options, "region", &level);
	ret->profile = option_text(options, "profile", &level);
	ret->endpoint_url = option_text(options, "endpointurl", &level);
	ret->access_key_id = option_text(options, "access_key_id", &level);
	ret->secret_access_key = option_text(options, "secret_access_key", &level);
	ret->session_token = option_text(options, "session_token", &level);
	ret->credential_path = option_path(options, "credentialpath");
	ret->config_path = option_path(options, "configpath");
	ret->cert_path = option_path(options, "cert_path");
	ret->key_path = option_path(options, "key_path");
	ret->keyfile = option_path(options, "keyfile");
	if (!ret->access_key_id != !ret->secret_access_key) {
		err_set(err, ERR_CONFIG, "the remote '%s' has only one of access_key_id and secret_access_key", ret->name);
		return err_hint(err, "set both, or neither and let the environment or ~/.aws/credentials say them");
	}
	if (option_bool(options, "use_ssl", true, &use_ssl, err) < 0 ||
	    option_bool(options, "allow_anonymous_login", false, &ret->anonymous, err) < 0)
		return -1;
	option_uint(options, "jobs", &ret->jobs);
	option_uint(options, "port", &ret->port);
	option_seconds(options, "timeout", &ret->connect_timeout_s);
	option_seconds(options, "timeout", &ret->read_timeout_s);
	option_seconds(options, "connect_timeout", &ret->connect_timeout_s);
	option_seconds(options, "read_timeout", &ret->read_timeout_s);
	if (!ret->token && option_text(options, "bearer_token_command", &level)) {
		err_set(err, ERR_CONFIG, "the remote '%s' has a bearer_token_command, which is not run", ret->name);
		return err_hint(err, "set token to what it prints: mlmake data remote modify --local %s token ...", ret->name);
	}
	if (ssl_verify && strcasecmp(ssl_verify, "true") != 0 && strcasecmp(ssl_verify, "false") != 0)
		ret->ca_bundle = ssl_verify;
	else if (option_bool(options, "ssl_verify", true, &verify, err) < 0)
		return -1;
	ret->no_ssl_verify = !verify;
	ret->no_ssl = !use_ssl;
	fill_texts(options, ret);
	return 0;
}

static int check_kind(const struct remote_options *options, struct remote_spec *spec, struct err *err)
{
	bool worktree = false;
	if (remote_check_url(spec->name, spec->url, err) < 0)
		return -1;
	if (option_bool(options, "version_aware", false, &spec->version_aware, err) < 0 ||
	    option_bool(options, "worktree", false, &worktree, err) < 0)
		return -1;
	if (worktree) {
		err_set(err, ERR_CONFIG, "the remote '%s' is a worktree, of which a push deletes what is not here: not supported", spec->name);
		return err_hint(err, "use dvc for this remote; version_aware alone keeps the versions, and deletes nothing");
	}
	if (spec->version_aware && !text_starts(spec->url, "s3://")) {
		err_set(err, ERR_CONFIG, "the remote '%s' is version_aware, and only buckets (s3://) keep versions", spec->name);
		return err_hint(err, "mlmake data remote modify -u %s version_aware makes it a plain one", spec->name);
	}
	return 0;
}

/* What mlmake.yaml says: where the packed remote of that name is (NULL: there is none), and the rate. A name stands for one remote. */
static int ask_project(const struct data_config *config, const char *name, bool known, struct arena *arena, const char **ret, uint64_t *ret_rate,
		       struct err *err)
{
	struct packed_remotes remotes CLEANUP(packed_remotes_release) = { .list = { 0 } };
	if (packed_remotes_load(config->project_file, &remotes, err) < 0)
		return -1;
	const char *url = packed_remotes_url(&remotes, name);
	*ret = url ? arena_strdup(arena, url) : NULL;
	*ret_rate = remotes.limit_rate;
	if (!url || !known)
		return 0;
	err_set(err, ERR_CONFIG, "there is a remote '%s' in mlmake.yaml, and another one in .dvc/config", name);
	return err_hint(err, "give one of them another name");
}

bool config_remote_exists(const struct data_config *config, const char *name)
{
	char *section OWNED = config_remote_section(name);
	for (int level = 0; level < DATA_LEVELS; level++)
		if (ini_has_section(&config->files[level], section))
			return true;
	return false;
}

bool config_remote_is_aware(const struct data_config *config, const char *name)
{
	struct arena arena CLEANUP(arena_release) = { 0 };
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct remote_spec spec;
	return (name || config->default_remote) && config_remote_any(config, name, &arena, &spec, &ignored) == 0 && spec.version_aware;
}

int config_remote(const struct data_config *config, const char *name, struct arena *arena, struct remote_spec *ret, struct err *err)
{
	if (config_remote_any(config, name, arena, ret, err) < 0)
		return -1;
	if (!ret->version_aware)
		return 0;
	err_set(err, ERR_CONFIG, "the remote '%s' is version_aware: it holds files by name and version, and no objects", ret->name);
	return err_hint(err, "push, fetch, pull and status -c work with it; for this name another remote with -r");
}

int config_remote_any(const struct data_config *config, const char *name, struct arena *arena, struct remote_spec *ret, struct err *err)
{
	*ret = (struct remote_spec){ .name = NULL };
	const char *chosen = name ? name : config->default_remote;
	if (!chosen) {
		err_set(err, ERR_CONFIG, "no remote is configured");
		return err_hint(err, "add one: mlmake data remote add -d storage s3://bucket/prefix   (or a directory)");
	}
	bool known = config_remote_exists(config, chosen);
	const char *packed;
	if (ask_project(config, chosen, known, arena, &packed, &ret->limit_rate, err) < 0)
		return -1;
	if (!known && !packed) {
		err_set(err, ERR_CONFIG, "there is no remote '%s'", chosen);
		return err_hint(err, "mlmake data remote list shows those there are");
	}
	struct remote_options options = { .config = config, .arena = arena };
	struct buf url CLEANUP(buf_release) = BUF_INIT;
	int status = remote_url(&options, chosen, packed, &url, err);
	ret->name = arena_strdup(arena, chosen);
	ret->url = arena_strdup(arena, url.data);
	ret->packed = packed;
	if (status == 0)
		status = check_values(&options, err);
	if (status == 0)
		status = check_kind(&options, ret, err);
	ret->version_aware = ret->version_aware && !packed; /* packs have names of their own, and lie beside the files */
	if (status == 0)
		status = fill_spec(&options, ret, err);
	for (size_t i = 0; i < options.len; i++)
		free(options.sections[i]);
	return status;
}
