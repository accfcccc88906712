/* mlmake data migrate */
#include "cli/cmd_data.h"

static void print_json(struct cli *cli, const struct data_migrate_report *report)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &text, JSON_PYTHON);
	json_open_object(&w);
	json_pair_uint(&w, "objects", report->objects);
	data_json_list(&w, "migrated", &report->migrated);
	data_json_list(&w, "not_in_cache", &report->missing);
	data_json_list(&w, "damaged_in_cache", &report->damaged);
	data_json_list(&w, "left", &report->left);
	data_json_list(&w, "unreadable", &report->broken);
	json_end(&w);
	data_json_print(cli, &text);
}

static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	bool dry = false;
	const struct option options[] = {
		{ 0, "dry", NULL, "say what would be migrated, and write nothing", OPTION_FLAG, &dry },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_migrate_report report CLEANUP(data_migrate_report_release) = { .objects = 0 };
	if (data_cli_open(cli, &repo, err) < 0 || data_migrate(repo, args.at, args.len, dry, &report, err) < 0)
		return -1;
	cli_progress_clear(cli);
	if (cli->json)
		print_json(cli, &report);
	for (size_t i = 0; !cli->json && i < report.migrated.len; i++)
		cli_out(cli, "%s\n", report.migrated.at[i]);
	if (!cli->json && !report.migrated.len && !report.missing.len && !report.damaged.len && !report.left.len)
		cli_note(cli, "nothing here was recorded by DVC 2");
	data_warn_list(cli, "not in the cache, so left as recorded (dvc pull fetches it; or with the data present, mlmake data add):", &report.missing);
	data_warn_list(cli, "damaged in the cache, so left as recorded:", &report.damaged);
	data_warn_list(cli, "left alone:", &report.left);
	data_warn_list(cli, "cannot be read:", &report.broken);
	return report.missing.len || report.damaged.len || report.broken.len ? ERR_DATA : 0;
}

const struct command cmd_data_migrate = {
	.name = "migrate",
	.summary = "record what DVC 2 recorded as DVC 3 does",
	.usage = "[OPTIONS] [PATH...]",
	.help = "DVC 2 named content by a md5 that takes CRLF for LF in text, and kept it elsewhere in the cache. This checks each\n"
		"such object of the cache, gives it its place and name of DVC 3, and edits the .dvc files. The old objects stay, for\n"
		"older commits. What dvc cache migrate --dvc-files does, but from the cache alone: the data need not be checked out.\n\n"
		"Examples:\n"
		"  mlmake data migrate --dry\n"
		"  mlmake data migrate data/raw && git commit -am 'Record data/raw as DVC 3 does'\n",
	.most = MANY,
	.has_json = true,
	.locks = true,
	.run = run,
};
