/* mlmake cache: the output cache's size, and making it smaller. */
#include "cli/cmd_cache.h"

#include "base/text.h"
#include "engine/cache.h"

static void close_cache(struct outputs **cache)
{
	outputs_close(*cache);
}

static int run_status(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct outputs_usage usage;
	struct outputs *cache CLEANUP(close_cache) = NULL;
	struct project *project CLEANUP(cli_drop_project) = NULL;
	struct share_remote remote CLEANUP(share_remote_release) = { .name = NULL };
	struct share_usage shared;
	bool look = false;
	uint64_t limit;
	const struct option options[] = {
		{ 0, "remote", NULL, "also say what the remote for shared results holds", OPTION_FLAG, &look },
		OPTION_CONFIG_FILE(cli),
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (cache_limit(&limit, err) < 0 || outputs_open(&cache, err) < 0 || outputs_usage(cache, &usage, err) < 0)
		return -1;
	/* The cache is of all projects: one that cannot be read is no reason not to tell of it. */
	struct err unread CLEANUP(err_release) = ERR_INIT;
	if (cache_remote(cli, &project, &remote, look ? err : &unread) < 0 && look)
		return -1;
	if (look && share_usage(&remote, &shared, err) < 0)
		return -1;
	bool is_shared = unread.code == ERR_NONE;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	if (cli->json) {
		struct json_writer w;
		json_begin(&w, &out, JSON_PRETTY);
		json_open_object(&w);
		json_pair_int(&w, "version", 1);
		json_pair_str(&w, "dir", outputs_dir(cache));
		json_pair_uint(&w, "results", usage.actions);
		json_pair_uint(&w, "objects", usage.objects);
		json_pair_uint(&w, "bytes", usage.bytes);
		json_pair_uint(&w, "max_bytes", limit);
		if (is_shared)
			cache_add_sharing_json(&w, project, &remote, look ? &shared : NULL);
		json_end(&w);
	} else {
		text_add_bytes(&out, usage.bytes);
		buf_addstr(&out, " of ");
		text_add_bytes(&out, limit);
		buf_addstr(&out, ": ");
		text_add_count(&out, usage.actions);
		buf_addstr(&out, " results, ");
		text_add_count(&out, usage.objects);
		buf_addf(&out, " files, in %s\n", outputs_dir(cache));
		if (is_shared)
			cache_add_sharing(&out, project, &remote, look ? &shared : NULL);
	}
	cli_out_bytes(cli, out.data, out.len);
	return 0;
}

static void print_collected(struct cli *cli, const struct outputs_gc_result *result, uint64_t limit, bool dry_run)
{
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	if (cli->json) {
		struct json_writer w;
		json_begin(&w, &out, JSON_PRETTY);
		json_open_object(&w);
		json_pair_int(&w, "version", 1);
		json_pair_bool(&w, "dry_run", dry_run);
		json_pair_uint(&w, "removed_results", result->removed_actions);
		json_pair_uint(&w, "removed_objects", result->removed_objects);
		json_pair_uint(&w, "removed_bytes", result->removed_bytes);
		json_pair_uint(&w, "bytes", result->kept_bytes);
		json_pair_uint(&w, "max_bytes", limit);
		json_end(&w);
	} else {
		buf_addstr(&out, dry_run ? "would remove " : "removed ");
		text_add_bytes(&out, result->removed_bytes);
		buf_addf(&out, " (%llu results, %llu files), ", (unsigned long long)result->removed_actions,
			 (unsigned long long)result->removed_objects);
		text_add_bytes(&out, result->kept_bytes);
		buf_addstr(&out, " stay\n");
	}
	cli_out_bytes(cli, out.data, out.len);
	if (result->kept_bytes > limit)
		cli_note(cli, "what is left is more than asked for: it is what targets have now or tags lead to, here and in other projects, or less than an hour old");
}

static int collect(struct cli *cli, struct outputs *cache, uint64_t limit, bool dry_run, struct outputs_gc_result *ret, struct err *err)
{
	struct project *project CLEANUP(cli_drop_project) = NULL;
	if (cli_load(cli, &project, err) < 0)
		return err_hint(err, "mend it first: what its targets need must stay");
	return cache_collect(cache, project, limit, dry_run, ret, err);
}

static int run_gc(struct cli *cli, int argc, char **argv, struct err *err)
{
	const char *size = NULL, *older_than = NULL;
	bool dry_run = false, remote = false;
	struct outputs *cache CLEANUP(close_cache) = NULL;
	struct outputs_gc_result result;
	uint64_t limit;
	const struct option options[] = {
		{ 0, "max-size", "SIZE", "20G, 500M, 0 (default: MLMAKE_CACHE_SIZE, else 10G)", OPTION_STRING, &size },
		{ 0, "remote", NULL, "collect the remote for shared results instead, by age", OPTION_FLAG, &remote },
		{ 0, "older-than", "AGE", "with --remote: what was put there longer ago goes, 30d (the default), 12h", OPTION_STRING, &older_than },
		{ 'n', "dry-run", NULL, "say how much would be removed; remove nothing", OPTION_FLAG, &dry_run },
		OPTION_CONFIG_FILE(cli),
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (remote ? size != NULL : older_than != NULL) {
		err_set(err, ERR_CONFIG, remote ? "--max-size bounds the cache of this machine, not the remote" : "--older-than needs --remote");
		return err_hint(err, "mlmake cache gc --remote --older-than=30d, or mlmake cache gc --max-size=2G");
	}
	if (remote)
		return cache_gc_remote(cli, older_than, dry_run, err);
	if (cache_limit(&limit, err) < 0)
		return -1;
	if (size && !text_parse_size(size, &limit)) {
		err_set(err, ERR_CONFIG, "'%s' is no size", size);
		return err_hint(err, "write it as --max-size=20G or 500M");
	}
	if (outputs_open(&cache, err) < 0 || collect(cli, cache, limit, dry_run, &result, err) < 0)
		return -1;
	if (result.busy) {
		err_set(err, ERR_LOCKED, "another mlmake is collecting the output cache");
		return err_hint(err, "try again when it is done");
	}
	print_collected(cli, &result, limit, dry_run);
	return 0;
}

static const struct command cmd_cache_status = {
	.name = "status",
	.summary = "say how large the output cache is",
	.usage = "[OPTIONS]",
	.help = "The cache of all your projects, what it may take, and where it is.\n"
		"\n"
		"  mlmake cache status\n"
		"  mlmake cache status --remote    and what others can restore\n"
		"  mlmake cache status --json",
	.has_json = true,
	.wants_hint = "the cache is that of all your projects",
	.run = run_status,
};

static const struct command cmd_cache_gc = {
	.name = "gc",
	.summary = "remove what has not been used for longest",
	.usage = "[OPTIONS]",
	.help = "Removes results and their files from the output cache until it fits; never those that targets have now, or that belong to a commit\n"
		"with a tag, in any project that shares the cache. Runs do the same now and then, so that it keeps to MLMAKE_CACHE_SIZE (10G).\n"
		"\n"
		"  mlmake cache gc\n"
		"  mlmake cache gc --max-size=2G\n"
		"  mlmake cache gc -n --max-size=0    what nobody needs\n"
		"  mlmake cache gc --remote --older-than=30d    what was shared longer ago",
	.has_json = true,
	.wants_hint = "--max-size=SIZE says what may stay",
	.run = run_gc,
};

static const struct command *const subcommands[] = { &cmd_cache_status, &cmd_cache_push, &cmd_cache_pull, &cmd_cache_gc, NULL };

const struct command cmd_cache = {
	.name = "cache",
	.summary = "look at the output cache, make it smaller, share what is in it",
	.usage = "COMMAND",
	.help = "The output cache keeps what targets made, by the key of what they were made from, for all your projects.\n"
		"\n"
		"  mlmake cache status\n"
		"  mlmake cache gc --max-size=2G\n"
		"  mlmake cache push train",
	.subcommands = subcommands,
};
