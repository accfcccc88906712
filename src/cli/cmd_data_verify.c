/* mlmake data verify */
#include "cli/cmd_data.h"

#include "base/text.h"

static void print_json(struct cli *cli, const struct data_verify_report *report, bool with_remote)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &text, JSON_PYTHON);
	json_open_object(&w);
	json_pair_uint(&w, "cache_objects", report->cache_objects);
	json_pair_uint(&w, "cache_bytes", report->cache_bytes);
	if (with_remote && report->remote) {
		json_pair_str(&w, "remote", report->remote);
		json_pair_uint(&w, "remote_objects", report->remote_objects);
		json_pair_uint(&w, "remote_bytes", report->remote_bytes);
	}
	data_json_list(&w, "missing_in_cache", &report->cache_missing);
	data_json_list(&w, "damaged_in_cache", &report->cache_damaged);
	data_json_list(&w, "missing_on_remote", &report->remote_missing);
	data_json_list(&w, "damaged_on_remote", &report->remote_damaged);
	data_json_list(&w, "repaired", &report->repaired);
	data_json_list(&w, "failed", &report->failed);
	data_json_list(&w, "hints", &report->hints);
	data_json_list(&w, "unreadable", &report->broken);
	json_end(&w);
	data_json_print(cli, &text);
}

static void show_amount(struct cli *cli, const char *where, const char *remote, size_t objects, uint64_t bytes)
{
	struct buf line CLEANUP(buf_release) = BUF_INIT;
	text_add_count(&line, objects);
	buf_addf(&line, " %s %s", objects == 1 ? "object" : "objects", where);
	if (remote)
		buf_addf(&line, " '%s'", remote);
	if (bytes) {
		buf_addstr(&line, ", ");
		text_add_bytes(&line, bytes);
		buf_addstr(&line, " read");
	}
	cli_note(cli, "looked at %s", line.data);
}

static int show(struct cli *cli, const struct data_verify_report *report, bool with_remote)
{
	cli_progress_clear(cli);
	data_warn_list(cli, "missing in the cache (mlmake data fetch, or --repair, brings it):", &report->cache_missing);
	data_warn_list(cli, "damaged in the cache (--repair takes it from the remote):", &report->cache_damaged);
	data_warn_list(cli, "missing on the remote (mlmake data push, or --repair, uploads it):", &report->remote_missing);
	data_warn_list(cli, "damaged on the remote (--repair takes it from the cache):", &report->remote_damaged);
	data_warn_list(cli, "could not be looked at:", &report->failed);
	data_show_hints(cli, &report->hints);
	data_warn_list(cli, "cannot be read:", &report->broken);
	for (size_t i = 0; i < report->repaired.len && !cli->json; i++)
		cli_out(cli, "repaired %s\n", report->repaired.at[i]);
	show_amount(cli, "in the cache", NULL, report->cache_objects, report->cache_bytes);
	if (with_remote && report->remote)
		show_amount(cli, "on the remote", report->remote, report->remote_objects, report->remote_bytes);
	if (report->cache_missing.len || report->cache_damaged.len || report->remote_missing.len || report->remote_damaged.len ||
	    report->broken.len)
		return ERR_DATA;
	if (report->failed.len)
		return ERR_NET;
	cli_note(cli, "all of it is as recorded");
	return 0;
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct data_verify_options verify = { .remote = NULL };
	const struct option options[] = {
		{ 'r', "remote", "NAME", "that remote's objects, too: each is downloaded and hashed", OPTION_STRING, &verify.remote },
		{ 'c', "cloud", NULL, "the default remote's objects, too", OPTION_FLAG, &verify.with_remote },
		{ 0, "quick", NULL, "of the remote, compare only the sizes", OPTION_FLAG, &verify.quick },
		{ 0, "all", NULL, "every object that is there, not only what the .dvc files here record", OPTION_FLAG, &verify.everything },
		{ 0, "repair", NULL, "replace what is missing or damaged from the other side", OPTION_FLAG, &verify.repair },
		{ 'j', "jobs", "N", "transfers at once", OPTION_UINT, &verify.jobs },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	verify.with_remote = verify.with_remote || verify.remote;
	if (verify.everything && args.len)
		return err_set(err, ERR_CONFIG, "--all is about all objects: give no paths with it");
	if (verify.quick && !verify.with_remote) {
		err_set(err, ERR_CONFIG, "--quick is about a remote, and none is looked at");
		return err_hint(err, "name one: %s --quick -r NAME", cli->full_name);
	}
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_verify_report report CLEANUP(data_verify_report_release) = { .remote = NULL };
	if (data_cli_open(cli, &repo, err) < 0 ||
	    data_verify(repo, args.at, args.len, &verify, &report, err) < 0)
		return -1;
	if (cli->json)
		print_json(cli, &report, verify.with_remote);
	return show(cli, &report, verify.with_remote);
}

const struct command cmd_data_verify = {
	.name = "verify",
	.summary = "read every object again, and compare size and md5",
	.usage = "[OPTIONS] [PATH...]",
	.help = "Reads the objects of the cache that the .dvc files here refer to, and with -r those of a remote. Whatever is damaged or\n"
		"missing is named, and the exit code is 3. --repair replaces it from the other side; damaged objects of the cache are moved\n"
		"to .mlmake-tmp/damaged in the cache.\n\n"
		"Examples:\n"
		"  mlmake data verify                     the cache\n"
		"  mlmake data verify models --repair     what of models is bad in the cache, from the default remote\n"
		"  mlmake data verify -r storage          that remote, too: downloads all of it\n"
		"  mlmake data verify -r storage --quick  by its sizes: downloads nothing\n",
	.has_json = true,
	.most = MANY,
	.run = run,
};
