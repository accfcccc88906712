/* mlmake data ls, get */
#include "cli/cmd_data.h"

#include "base/mem.h"

struct ls_flags {
	struct data_ls_options ls;
	bool hashes;
};

static void print_json(struct cli *cli, const struct data_listing *listing)
{
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &text, JSON_PYTHON);
	json_open_array(&w);
	for (size_t i = 0; i < listing->list.len; i++) {
		const struct data_listed *listed = &listing->list.at[i];
		json_open_object(&w);
		json_pair_bool(&w, "isout", listed->is_out);
		json_pair_bool(&w, "isdir", listed->is_dir);
		json_pair_bool(&w, "isexec", listed->exec);
		json_key(&w, "size");
		if (listed->has_size)
			json_put_uint(&w, listed->size);
		else
			json_put_null(&w);
		json_pair_str(&w, "md5", listed->md5);
		json_pair_str(&w, "path", listed->path);
		json_close(&w);
	}
	json_end(&w);
	data_json_print(cli, &text);
}

static void print_text(struct cli *cli, const struct data_listing *listing, const struct ls_flags *flags)
{
	for (size_t i = 0; i < listing->list.len; i++) {
		const struct data_listed *listed = &listing->list.at[i];
		char *size OWNED = listed->has_size ? mem_printf("%llu", (unsigned long long)listed->size) : mem_strdup("-");
		if (flags->ls.sizes)
			cli_out(cli, "%12s  ", size);
		if (flags->hashes)
			cli_out(cli, "%-36s  ", listed->md5 ? listed->md5 : "-");
		cli_out(cli, "%s\n", listed->path);
	}
}

static int run_ls(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct ls_flags flags = { .hashes = false };
	const struct option options[] = {
		{ 'R', "recursive", NULL, "the files in directories, too", OPTION_FLAG, &flags.ls.recursive },
		{ 0, "rev", "REV", "as that revision records it", OPTION_STRING, &flags.ls.rev },
		{ 0, "size", NULL, "bytes, as far as they are known here", OPTION_FLAG, &flags.ls.sizes },
		{ 0, "hash", NULL, "md5s", OPTION_FLAG, &flags.hashes },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct data_listing listing CLEANUP(data_listing_release) = { .list = { 0 } };
	flags.ls.sizes = flags.ls.sizes || cli->json;
	if (data_cli_open(cli, &repo, err) < 0 || data_ls(repo, args.len ? args.at[0] : NULL, &flags.ls, &listing, err) < 0)
		return -1;
	cli_progress_clear(cli);
	if (cli->json)
		print_json(cli, &listing);
	else
		print_text(cli, &listing, &flags);
	data_warn_list(cli, "cannot be read:", &listing.broken);
	return listing.broken.len ? ERR_DATA : 0;
}

const struct command cmd_data_ls = {
	.name = "ls",
	.summary = "list tracked data, of any revision",
	.usage = "[OPTIONS] [PATH]",
	.help = "Lists what is tracked in PATH (here), whether it is checked out or not. Manifests that the cache lacks are fetched. --json\n"
		"prints what dvc ls --dvc-only --json prints; sizes of members are known where the cache has them.\n\n"
		"Examples:\n"
		"  mlmake data ls -R --size --hash\n"
		"  mlmake data ls data/images --rev v1.0\n",
	.has_json = true,
	.most = 1,
	.wants = "one path at a time",
	.run = run_ls,
};

static int run_get(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct data_get_options get = { .rev = NULL };
	const struct option options[] = {
		{ 'o', "out", "OUT", "write it there (its own name, here)", OPTION_STRING, &get.out },
		{ 0, "rev", "REV", "as that revision records it", OPTION_STRING, &get.rev },
		{ 'f', "force", NULL, "overwrite a file", OPTION_FLAG, &get.force },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	struct buf target CLEANUP(buf_release) = BUF_INIT;
	size_t files = 0;
	if (data_cli_open(cli, &repo, err) < 0 || data_get(repo, args.at[0], &get, &target, &files, err) < 0)
		return -1;
	cli_progress_clear(cli);
	if (!cli->json) {
		cli_note(cli, "wrote %s (%zu %s)", target.data, files, files == 1 ? "file" : "files");
		return 0;
	}
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	struct json_writer w;
	json_begin(&w, &text, JSON_PYTHON);
	json_open_object(&w);
	json_pair_str(&w, "path", target.data);
	json_pair_uint(&w, "files", files);
	json_end(&w);
	data_json_print(cli, &text);
	return 0;
}

const struct command cmd_data_get = {
	.name = "get",
	.summary = "write a tracked file or directory somewhere, of any revision",
	.usage = "[OPTIONS] PATH",
	.help = "Takes a tracked path, or a part of a tracked directory, from the cache, else from the remote, and writes a verified copy. The\n"
		"rest of the directory is neither fetched nor checked out, and no .dvc file is touched.\n\n"
		"Examples:\n"
		"  mlmake data get data/images/cat.png -o cat.png\n"
		"  mlmake data get models/model.onnx --rev v1.0 -o old.onnx\n",
	.has_json = true,
	.least = 1,
	.most = 1,
	.wants = "one path",
	.run = run_get,
};
