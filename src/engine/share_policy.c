#include "engine/share_policy.h"

#include "base/sys.h"
#include "base/text.h"
#include "formats/json.h"

#define EVENT_MAX ((size_t)32 << 20)

/* Events that say nothing of who wrote the code, since it is in the repository already. */
static const char *const own_events[] = { "push", "schedule", "workflow_dispatch", "repository_dispatch", "release", "create" };

/* NULL, or why this run of GitHub Actions may not write; owned. *ret_default: whether it is a push to the default branch. */
static char *look_at_event(bool *ret_default)
{
	const char *name = sys.getenv("GITHUB_EVENT_NAME"), *path = sys.getenv("GITHUB_EVENT_PATH"), *ref = sys.getenv("GITHUB_REF");
	struct json_doc doc CLEANUP(json_release) = JSON_DOC_INIT;
	struct err err CLEANUP(err_release) = ERR_INIT;
	bool own = false;
	for (size_t i = 0; i < ARRAY_LEN(own_events); i++)
		own = own || text_eq(name, own_events[i]);
	if (!own)
		return mem_printf("the event of this run is '%s'", name ? name : "");
	if (!path || json_parse_file(&doc, path, "GITHUB_EVENT_PATH", EVENT_MAX, &err) < 0)
		return mem_strdup("this run's event cannot be read");
	const struct json_node *repository = json_get(doc.root, "repository");
	const char *branch = json_str(json_get(repository, "default_branch"));
	if (json_get(doc.root, "pull_request"))
		return mem_strdup("this run is for a pull request");
	if (!branch || json_kind(json_get(repository, "fork")) != JSON_BOOLEAN)
		return mem_strdup("this run's event does not say what repository it is of");
	if (json_bool(json_get(repository, "fork"), true))
		return mem_strdup("this repository is a fork");
	OWNED char *due = mem_printf("refs/heads/%s", branch);
	*ret_default = text_eq(name, "push") && text_eq(ref, due);
	return NULL;
}

void share_decide(enum cache_push setting, bool asked, struct share_decision *ret)
{
	bool in_actions = text_eq(sys.getenv("GITHUB_ACTIONS"), "true"), to_default = false;
	char *refusal = in_actions ? look_at_event(&to_default) : NULL;
	*ret = (struct share_decision){ .push = false };
	if (refusal) {
		ret->refused = asked || setting == CACHE_PUSH_ALWAYS;
		ret->why = refusal;
		return;
	}
	const char *why = "this is not a push to the default branch in CI";
	if (asked)
		why = "--cache-push asks for it";
	else if (setting == CACHE_PUSH_ALWAYS)
		why = "cache.push is always";
	else if (setting == CACHE_PUSH_NEVER)
		why = "cache.push is never";
	else if (to_default)
		why = "this is a push to the default branch in CI";
	ret->push = asked || setting == CACHE_PUSH_ALWAYS || (setting == CACHE_PUSH_CI && to_default);
	ret->why = mem_strdup(why);
}
