/*
 * What the files of src/graph share. Nobody else includes it.
 *
 * Loading goes: declarations (of mlmake.yaml, then of rules) -> targets, whose values are expanded -> edges. The config lives
 * for the length of project_load, the internal part as long as the project.
 */
#ifndef GRAPH_INTERNAL_H
#define GRAPH_INTERNAL_H

#define BACKOFF_MS 1000 /* where none is said */

#include "base/index.h"
#include "base/intern.h"
#include "base/vec.h"
#include "formats/yaml.h"
#include "graph/graph.h"

#define CONFIG_NAME "mlmake.yaml"

struct output_owner {
	const struct target *target;
	const struct output *output;
};

/* A file that the project was loaded from. */
struct source_file {
	const char *file;  /* as shown: relative to the root */
	bool built_in;     /* a rule of the program's own */
	bool was_read;     /* text is what could be read of it */
	struct buf text;
};

struct project_internal {
	VEC(struct source_file) sources;        /* that places are in */
	struct edge_list *edges;           /* of each target */
	struct index names;                /* of targets */
	VEC(struct output_owner) owners;   /* of each output */
	struct index outputs;              /* path -> number in owners */
	struct map faults;                 /* target name -> struct err: raised when the target is planned */
	struct buf saved;                  /* what graph_restore read, if it did */
};

/* A value of `vars`: one scalar, expanded on first use. */
struct var {
	const char *name;
	const struct yaml_node *node;
	const char *value; /* NULL until known */
	bool resolving;
};

struct rule {
	const char *name, *desc, *origin, *why;
	const struct yaml_node *root;
	struct map vars;  /* struct var, in the arena */
	struct map tools; /* struct yaml_node */
};

struct target_ref {
	uint32_t index;
	struct place place;
};

struct matrix_value {
	const char *name, *value;
};

/* A file that mlmake.yaml includes: what its targets' values and paths are relative to. */
struct space {
	const char *name;           /* what its targets' names begin with, ':' included */
	const char *dir;            /* relative to the root */
	const char *file;           /* likewise */
	const struct yaml_node *root;
	const struct space *parent; /* that includes it; NULL: mlmake.yaml */
	struct map vars;            /* struct var, in the arena */
	struct env_list env, pass_env, secrets;
};

/* A target as it is written. */
struct decl {
	const char *name;
	struct space *space;      /* NULL: mlmake.yaml itself, or a rule */
	bool is_file;             /* stands for the top level of space: no target */
	const struct matrix_value *matrix; /* of an instance */
	size_t matrix_len;
	bool is_group;            /* all instances of a matrix, decls.at[first_instance] and following */
	uint32_t first_instance, instance_count;
	const struct yaml_node *key, *body;
	struct rule *rule;        /* NULL: mlmake.yaml */
	bool outputs_done, outputs_busy;
	VEC(struct target_ref) refs; /* targets whose outputs its values name */
};

struct decl_list {
	struct decl *at;
	size_t len, cap;
};

#define SETTINGS_NEAR 16 /* so many of the last ones are looked at for equal ones */

struct config {
	struct project *project;
	const struct project_options *options;
	struct intern strings;            /* all that the project keeps: nothing may point into the documents */
	VEC(struct yaml_doc *) docs;      /* of each of the project's sources; gone when it is loaded */
	const struct yaml_node *root;     /* of mlmake.yaml; NULL if there is none */
	struct map vars;                  /* struct var, in the arena */
	struct map param_overrides;       /* dotted -> struct param_override, in the arena */
	struct map params_used;           /* names that ${params.NAME} has asked for */
	struct map params_docs;           /* file -> const struct yaml_node *, its root; NULL where there is none */
	struct decl_list decls;           /* in order; decls.at[i] becomes targets[i] */
	struct map decl_index;            /* name -> index + 1 */
	VEC(struct rule *) rules;         /* that matched, in the arena */
	VEC(struct space *) spaces;       /* in the arena */
	VEC(const struct var *) busy_vars;
	struct env_list env, pass_env, secrets;
	struct string_list shell;         /* where none is said */
	VEC(const struct target_settings *) settings; /* each once, as far as SETTINGS_NEAR sees */
	const char *git_sha, *git_branch; /* NULL until asked for */
	size_t fault_count;               /* of values that could not be found so far */
	size_t local_count;               /* of values that were found for one target and say nothing of another */
};

struct param_override {
	const char *value;
	bool added; /* "+params.x=1": need not be in the file */
	bool used;
};

/* Parses path (relative to the root) and keeps the document until the project is loaded. *ret_root is NULL for an empty file. */
int config_read_yaml(struct config *config, const char *path, const struct yaml_node **ret_root, struct err *err) MUST_CHECK;
int config_parse_yaml(struct config *config, const char *shown_as, bool built_in, const char *bytes, size_t len,
		      const struct yaml_node **ret_root, struct err *err) MUST_CHECK;

const char *config_keep(struct config *config, const char *text);
struct place config_place(const struct config *config, const struct yaml_node *node);
struct place config_span_place(const struct config *config, const struct span *span);

/* place.c: of a project whose targets are complete. */
void project_index_targets(struct project *project);
/* The output that conflicts with it, or NULL. */
const struct output_owner *project_add_owner(struct project *project, const struct target *target, const struct output *output);
const struct output_owner *project_owner(const struct project *project, const char *path);
const struct output_owner *project_ownern(const struct project *project, const char *path, size_t len);
void project_release_indexes(struct project *project);

/* vars.c */
int vars_declare(struct config *config, struct map *vars, const struct yaml_node *node, struct err *err) MUST_CHECK;
int vars_override(struct config *config, const char *assignment, struct err *err) MUST_CHECK;
int vars_check_overrides(const struct config *config, struct err *err) MUST_CHECK;
/* The node's text with every ${...} replaced, in the arena. decl is the target that it belongs to, NULL at the top level. */
int vars_expand(struct config *config, struct decl *decl, const struct yaml_node *node, const char **ret, struct err *err) MUST_CHECK;
/* A scalar or a list of them; NULL gives an empty list. */
int vars_expand_list(struct config *config, struct decl *decl, const struct yaml_node *node, struct string_list *ret,
		     struct err *err) MUST_CHECK;

/* target.c */
int target_build(struct config *config, size_t index, struct err *err) MUST_CHECK;
int target_build_outputs(struct config *config, size_t index, struct err *err) MUST_CHECK;
int env_merge(struct config *config, struct decl *decl, const struct yaml_node *map, const struct env_list *base,
	      struct env_list *ret, struct err *err) MUST_CHECK;
int env_merge_names(struct config *config, struct decl *decl, const struct yaml_node *names, const struct env_list *base,
		    struct env_list *ret, struct err *err) MUST_CHECK;

/* reads.c: whether an input with '!' leaves path out. */
bool target_excludes(const struct target *target, const char *path);

/* matrix.c: puts the instances in the place of each declaration that has a matrix, and a group of its name behind them. */
int matrix_expand(struct config *config, struct err *err) MUST_CHECK;

/* include.c: declares the targets of the files that mlmake.yaml includes. */
int include_declare(struct config *config, struct err *err) MUST_CHECK;
int include_environments(struct config *config, struct err *err) MUST_CHECK; /* that their targets begin with; after mlmake.yaml's own */

/* config.c */
/* 1 + the number of the target that a file means by name: its own, that of the file that includes it, ... 0 if there is none. */
size_t config_find(const struct config *config, const struct space *space, const char *name);
/* Declares the targets of one file; space NULL: of mlmake.yaml. */
int config_declare(struct config *config, struct space *space, const struct yaml_node *targets, struct err *err) MUST_CHECK;
int config_check_version(const struct yaml_node *root, struct err *err) MUST_CHECK;

/* target.c: a path as the project knows it, normalised and below the root; text is relative to dir, "" for the root. what is "output", "dir". */
int config_path(struct config *config, const char *dir, const struct yaml_node *node, const char *text, const char *what, const char **ret,
		struct err *err) MUST_CHECK;

/* graph.c */
int graph_link(struct config *config, struct err *err) MUST_CHECK;
/* Fills needs, after, makes_inputs and used_by from the edges. */
void graph_take_edges(struct project *project);

/* config.c: from its files to targets and edges. */
int graph_load(struct project *project, const struct project_options *options, struct err *err) MUST_CHECK;

/* saved.c: the whole of a project but its root, as bytes. What is restored points into them; false if they are no graph of this version,
 * and then the project is good for nothing but project_free. */
void graph_save(const struct project *project, struct buf *out);
bool graph_restore(struct project *project, const void *bytes, size_t len) MUST_CHECK;

/* cycle.c */
int graph_check_cycles(const struct project *project, struct err *err) MUST_CHECK;

/* rules.c: adds the declarations of every rule that matches. */
int rules_apply(struct config *config, struct err *err) MUST_CHECK;

/* "did you mean" over the project's target names, else how to list them. Returns -1. */
int hint_target(const struct project *project, const char *name, struct err *err);

#endif
