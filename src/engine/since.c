#include "engine/since.h"

#include "base/path.h"
#include "base/text.h"
#include "engine/components.h"
#include "formats/yaml.h"
#include "vcs/git_changes.h"

#include <stdlib.h>
#include <string.h>

#define CONFIG_MAX ((size_t)64 << 20)

/* A side of the comparison. */
struct side {
	struct looking *looking;
	const char *commit; /* NULL: the work tree */
	char hex[GIT_HEX];
	struct project_overlay overlay;
	struct project *project; /* as it was defined then; NULL where that cannot be read */
	struct tracked_list tracked;
	struct map params;       /* file -> struct yaml_doc * */
};

struct looking {
	const struct project *project;
	struct git_repo *repo;
	char *below;            /* the root within git's work tree, "" or "sub/" */
	struct side from, to;
	struct strlist changed; /* relative to the root */
	struct map is_changed;
	struct since *ret;
};

static void free_doc(void *doc)
{
	yaml_release(doc);
	free(doc);
}

static void side_release(struct side *side)
{
	if (side->project)
		project_free(side->project);
	tracked_list_release(&side->tracked);
	map_release_values(&side->params, free_doc);
}

static void looking_release(struct looking *looking)
{
	side_release(&looking->from);
	side_release(&looking->to);
	strlist_release(&looking->changed);
	map_release(&looking->is_changed);
	free(looking->below);
	git_close(looking->repo);
}

/* project_overlay: the commit's file. What git does not know and the change does not touch, such as an ignored file, is as it is. */
static int read_then(void *ctx, const char *path, struct buf *out, bool *ret_exists, struct err *err)
{
	struct side *side = ctx;
	OWNED char *full = mem_printf("%s%s", side->looking->below, path);
	if (git_read_at(side->looking->repo, side->commit, full, CONFIG_MAX, out, ret_exists, err) < 0)
		return -1;
	return *ret_exists || map_has(&side->looking->is_changed, path);
}

/* Range. */

static int resolve(struct looking *looking, struct side *side, const char *rev, struct err *err)
{
	if (git_resolve(looking->repo, rev, side->hex, err) < 0)
		return -1;
	side->commit = side->hex;
	return 0;
}

static int parse_range(struct looking *looking, const char *range, struct err *err)
{
	const char *dots = strstr(range, "..");
	size_t from_len = dots ? (size_t)(dots - range) : strlen(range);
	bool from_base = dots && dots[2] == '.';
	const char *to = dots ? dots + (from_base ? 3 : 2) : "";
	OWNED char *from = mem_strndup(range, from_len);
	if (resolve(looking, &looking->from, *from ? from : "HEAD", err) < 0)
		return err_note(err, "--since takes REV, REV..., A..B or A...B");
	if (*to && resolve(looking, &looking->to, to, err) < 0)
		return err_note(err, "--since takes REV, REV..., A..B or A...B");
	if (!from_base)
		return 0;
	char head[GIT_HEX], base[GIT_HEX];
	if (!*to && git_resolve(looking->repo, "HEAD", head, err) < 0)
		return -1;
	if (git_common_ancestor(looking->repo, looking->from.hex, *to ? looking->to.hex : head, base, err) < 0)
		return -1;
	memcpy(looking->from.hex, base, sizeof(base));
	return 0;
}

/* What changed. */

static void add_changed(struct looking *looking, const char *path)
{
	if (map_set(&looking->is_changed, path, NULL))
		strlist_add(&looking->changed, path);
}

static int find_changed(struct looking *looking, struct err *err)
{
	struct strlist paths CLEANUP(strlist_release) = { 0 };
	if (git_changed_paths(looking->repo, looking->from.commit, looking->to.commit, &paths, err) < 0)
		return -1;
	for (size_t i = 0; i < paths.len; i++)
		if (text_starts(paths.at[i], looking->below))
			add_changed(looking, paths.at[i] + strlen(looking->below));
	return 0;
}

static int load_tracked(struct looking *looking, struct side *side, struct err *err)
{
	const struct provider *provider = looking->project->provider;
	if (!provider || !provider->tracked_at)
		return 0;
	return side->commit ? provider->tracked_at(looking->project->root, side->commit, &side->tracked, err)
			    : provider->tracked(looking->project->root, &side->tracked, err);
}

static bool same_there(const struct tracked_list *list, const struct tracked_path *path)
{
	for (size_t i = 0; i < list->len; i++)
		if (text_eq(list->at[i].path, path->path))
			return list->at[i].is_dir == path->is_dir && list->at[i].digest.kind == path->digest.kind &&
			       digest_eq(&list->at[i].digest, &path->digest);
	return false;
}

static void affect(struct looking *looking, const struct target *target, char *because)
{
	struct since *ret = looking->ret;
	if (ret->because[target->id]) {
		free(because);
		return;
	}
	ret->because[target->id] = because;
	ret->affected++;
}

static void affect_readers(struct looking *looking, const char *path, bool is_dir)
{
	for (size_t i = 0; i < looking->project->target_count; i++) {
		const struct target *target = &looking->project->targets[i];
		if (!looking->ret->because[i] && project_reads(looking->project, target, path, is_dir))
			affect(looking, target, mem_strdup(path));
	}
}

static void compare_tracked(struct looking *looking, const struct tracked_list *one, const struct tracked_list *other)
{
	for (size_t i = 0; i < one->len; i++)
		if (!same_there(other, &one->at[i]))
			affect_readers(looking, one->at[i].path, one->at[i].is_dir);
}

/* Definitions: all of a target that is in its key and stands in the configuration. */

static void add_all(struct buf *list, enum component_kind kind, const struct string_list *words)
{
	for (size_t i = 0; i < words->len; i++)
		components_add_text(list, kind, words->at[i], "");
}

static void add_inputs(struct buf *list, const struct target *target)
{
	for (size_t i = 0; i < target->inputs.len; i++)
		components_add_text(list, COMPONENT_INPUT, target->inputs.at[i].glob, target->inputs.at[i].exclude ? "!" : "");
	for (size_t i = 0; i < target->outputs.len; i++)
		components_add_text(list, COMPONENT_OUTPUT, target->outputs.at[i].path, target->outputs.at[i].track ? "track" : "");
	for (size_t i = 0; i < target->params.len; i++) {
		components_add_text(list, COMPONENT_PARAM, target->params.at[i].file, "");
		add_all(list, COMPONENT_PARAM, &target->params.at[i].keys);
	}
}

static void add_definition(struct buf *list, const struct project *project, const struct target *target)
{
	add_all(list, COMPONENT_COMMAND, &target->run);
	add_all(list, COMPONENT_SHELL, &target->settings->shell);
	components_add_text(list, COMPONENT_DIR, "", target->dir);
	for (size_t i = 0; i < target->settings->env.len; i++)
		components_add_text(list, COMPONENT_ENV, target->settings->env.at[i].name, target->settings->env.at[i].value);
	for (size_t i = 0; i < target->settings->pass_env.len; i++)
		components_add_text(list, COMPONENT_ENV, target->settings->pass_env.at[i].name, "");
	for (size_t i = 0; i < target->needs.len; i++)
		components_add_text(list, COMPONENT_NEED, project->targets[target->needs.at[i]].name, "");
	for (size_t i = 0; i < target->settings->tools.len; i++) {
		components_add_text(list, COMPONENT_TOOL, target->settings->tools.at[i].name, "");
		add_all(list, COMPONENT_TOOL, &target->settings->tools.at[i].version_argv);
	}
	add_inputs(list, target);
	add_all(list, COMPONENT_TOOL, &target->path_front);
	components_add_text(list, COMPONENT_OUTPUT, target->settings->stamp ? target->settings->stamp : "", target->always ? "always" : "");
}

bool engine_same_definition(const struct project *project, const struct target *target, const struct project *other)
{
	struct buf a CLEANUP(buf_release) = BUF_INIT, b CLEANUP(buf_release) = BUF_INIT;
	const struct target *then = project_find(other, target->name);
	if (!then)
		return false;
	add_definition(&a, project, target);
	add_definition(&b, other, then);
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static void load_side(struct looking *looking, struct side *side, const struct project_options *load)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct project_options options = *load;
	side->overlay = (struct project_overlay){ read_then, side };
	options.overlay = &side->overlay;
	options.dir = looking->project->root;
	if (project_load(&options, &side->project, &ignored) < 0)
		side->project = NULL;
}

static void compare_definitions(struct looking *looking, const struct project_options *load)
{
	const struct project *project = looking->project, *now = project;
	const char *config = project->config_path ? project->config_path : "mlmake.yaml";
	load_side(looking, &looking->from, load);
	if (looking->to.commit) {
		load_side(looking, &looking->to, load);
		now = looking->to.project;
	}
	const struct project *then = looking->from.project;
	bool unreadable = !then || !now || (!project->config_path && map_has(&looking->is_changed, config));
	for (size_t i = 0; i < project->target_count; i++) {
		const struct target *target = &project->targets[i];
		const struct target *later = unreadable ? NULL : project_find(now, target->name);
		OWNED char *rule = text_starts(target->origin, "rule:") ? mem_printf("rules/%s.yaml", target->origin + strlen("rule:")) : NULL;
		if (unreadable)
			affect(looking, target, mem_printf("%s, as a whole", config));
		else if (rule && map_has(&looking->is_changed, rule))
			affect(looking, target, mem_strdup(rule));
		else if (later && !engine_same_definition(now, later, then))
			affect(looking, target, mem_printf("its definition in %s", rule ? rule : target->origin));
	}
}

/* Parameters. */

/* The file's root; NULL if it does not exist then, or is no YAML. */
static const struct yaml_node *params_then(struct looking *looking, struct side *side, const char *file)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct map_entry *entry = map_entry(&side->params, file);
	if (!entry->value) {
		struct yaml_doc *doc = entry->value = mem_alloc(sizeof(*doc));
		bool exists = true;
		OWNED char *path = path_joined(looking->project->root, file);
		int failed = side->commit ? read_then(side, file, &text, &exists, &ignored) < 0 : fs_read_file(path, CONFIG_MAX, &text, &ignored);
		if (failed || !exists || yaml_parse(doc, file, text.data, text.len, &ignored) < 0)
			memset(doc, 0, sizeof(*doc));
	}
	return ((struct yaml_doc *)entry->value)->root;
}

static bool same_value(const struct yaml_node *a, const struct yaml_node *b)
{
	struct buf one CLEANUP(buf_release) = BUF_INIT, other CLEANUP(buf_release) = BUF_INIT;
	if (!a || !b)
		return a == b;
	yaml_add_canonical(&one, a);
	yaml_add_canonical(&other, b);
	return text_eq(one.data, other.data);
}

static void compare_params(struct looking *looking, const struct target *target)
{
	for (size_t i = 0; i < target->params.len; i++) {
		const struct param_ref *ref = &target->params.at[i];
		if (!map_has(&looking->is_changed, ref->file))
			continue;
		const struct yaml_node *then = params_then(looking, &looking->from, ref->file), *now = params_then(looking, &looking->to, ref->file);
		if (!ref->keys.len && !same_value(then, now))
			affect(looking, target, mem_strdup(ref->file));
		for (size_t k = 0; k < ref->keys.len; k++)
			if (!same_value(then ? yaml_get_dotted(then, ref->keys.at[k]) : NULL, now ? yaml_get_dotted(now, ref->keys.at[k]) : NULL))
				affect(looking, target, mem_printf("%s:%s", ref->file, ref->keys.at[k]));
	}
}

/* What depends on them. */

static bool depends_by_key(const struct target *user, uint32_t id)
{
	for (size_t i = 0; i < user->needs.len; i++)
		if (user->needs.at[i] == id)
			return true;
	for (size_t i = 0; i < user->makes_inputs.len; i++)
		if (user->makes_inputs.at[i] == id)
			return true;
	return false;
}

static void affect_users(struct looking *looking)
{
	const struct project *project = looking->project;
	VEC(uint32_t) todo = { 0 };
	for (size_t i = 0; i < project->target_count; i++)
		if (looking->ret->because[i])
			vec_push(&todo, (uint32_t)i);
	while (todo.len) {
		const struct target *target = &project->targets[todo.at[--todo.len]];
		for (size_t i = 0; i < target->used_by.len; i++) {
			const struct target *user = &project->targets[target->used_by.at[i]];
			if (looking->ret->because[user->id] || !depends_by_key(user, target->id))
				continue;
			affect(looking, user, mem_printf("%s is affected", target->name));
			vec_push(&todo, user->id);
		}
	}
	vec_release(&todo);
}

static int open_git(struct looking *looking, struct err *err)
{
	const char *root = looking->project->root;
	struct buf below CLEANUP(buf_release) = BUF_INIT;
	if (git_open(root, &looking->repo, err) < 0)
		return -1;
	if (!looking->repo || !git_top(looking->repo) || !path_inside(git_top(looking->repo), root)) {
		err_set(err, ERR_CONFIG, "%s is not in a git work tree, so there is nothing to compare with", root);
		return err_hint(err, "leave --since out");
	}
	path_relative(&below, git_top(looking->repo), root);
	looking->below = text_eq(below.data, ".") ? mem_strdup("") : mem_printf("%s/", below.data);
	return 0;
}

int engine_since(const struct project *project, const struct project_options *load, const char *range, struct since *ret, struct err *err)
{
	struct looking looking CLEANUP(looking_release) = { .project = project, .ret = ret };
	looking.from.looking = looking.to.looking = &looking;
	ret->count = project->target_count;
	ret->because = mem_alloc((project->target_count + 1) * sizeof(*ret->because));
	if (open_git(&looking, err) < 0 || parse_range(&looking, range, err) < 0 || find_changed(&looking, err) < 0 ||
	    load_tracked(&looking, &looking.from, err) < 0 || load_tracked(&looking, &looking.to, err) < 0)
		return -1;
	for (size_t i = 0; i < looking.changed.len; i++)
		affect_readers(&looking, looking.changed.at[i], false);
	compare_tracked(&looking, &looking.from.tracked, &looking.to.tracked);
	compare_tracked(&looking, &looking.to.tracked, &looking.from.tracked);
	for (size_t i = 0; i < project->target_count; i++)
		compare_params(&looking, &project->targets[i]);
	compare_definitions(&looking, load);
	affect_users(&looking);
	return 0;
}

void since_release(struct since *since)
{
	for (size_t i = 0; i < since->count; i++)
		free(since->because[i]);
	free(since->because);
	*since = (struct since){ 0 };
}
