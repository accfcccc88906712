/*
 * DVC's configuration: four files, later ones win: system, global, project (.dvc/config), local (.dvc/config.local).
 * Relative paths are relative to the directory of the file that they stand in.
 */
#ifndef FEATURES_DATA_CONFIG_H
#define FEATURES_DATA_CONFIG_H

#include "features/data/data.h"
#include "formats/ini.h"
#include "net/remote.h"
#include "store/odb.h"

struct data_config {
	struct ini files[DATA_LEVELS];
	char *paths[DATA_LEVELS]; /* absolute; NULL: there is no such place */
	char *cache_dir;
	bool cache_shared;
	struct odb_links links;
	bool autostage;
	bool no_scm;
	char *default_remote;     /* NULL if none */
	char *project_file;       /* mlmake.yaml, where packed remotes and limits stand; NULL: those of another repository do not count */
};

int config_load(struct data_config *config, const char *root, struct err *err) MUST_CHECK;
void config_release(struct data_config *config);
/* That of another repository. text is what its git holds as .dvc/config, of which only what says where data is counts; config.local is
 * read where root is a directory of this machine. */
int config_load_foreign(struct data_config *config, const char *root, bool is_here, const char *text, size_t len, struct err *err)
	MUST_CHECK;

/* The value that takes effect; NULL if none. *ret_level may be NULL. */
const char *config_get(const struct data_config *config, const char *section, const char *name, enum data_level *ret_level);
/* true, false, 1 or 0; false if it is none of them. */
bool config_parse_bool(const char *text, bool *ret);
/* A boolean, fallback if absent. */
int config_bool(const struct data_config *config, const char *section, const char *name, bool fallback, bool *ret, struct err *err)
	MUST_CHECK;

/* A path of that level's file, absolute and normalised. Owned by the caller. */
char *config_resolve_path(const struct data_config *config, enum data_level level, const char *value);

/* What a remote's sections say together; name NULL: the default one. ERR_CONFIG if there is none, of a kind that is not spoken
 * here, or version_aware. The spec's strings are in the arena. */
int config_remote(const struct data_config *config, const char *name, struct arena *arena, struct remote_spec *ret, struct err *err)
	MUST_CHECK;

/* The same for those who know what a version_aware remote is: spec.version_aware. */
int config_remote_any(const struct data_config *config, const char *name, struct arena *arena, struct remote_spec *ret, struct err *err)
	MUST_CHECK;
/* Whether the remote is version_aware; false for one that is not configured, or badly. name NULL: the default one. */
bool config_remote_is_aware(const struct data_config *config, const char *name);
/* Whether there is a remote of that name. */
bool config_remote_exists(const struct data_config *config, const char *name);

/* Whether a remote can have that option; if not, *ret_near is the one that may be meant, or NULL. */
bool config_remote_knows(const char *option, const char **ret_near);
#define CONFIG_NUMBER_MAX 100000
/* ERR_CONFIG where the value is not what the option takes; what it names may still be wrong. */
int config_remote_check_value(const char *remote, const char *option, const char *value, struct err *err) MUST_CHECK;
/* Options in a remote's sections that nobody knows, as warnings. name NULL: the default remote. */
void config_remote_unknown(const struct data_config *config, const char *name, struct strlist *ret);

/* The section's name of a remote: remote "name". Owned by the caller. */
char *config_remote_section(const char *name);

#endif
