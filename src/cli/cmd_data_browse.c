/* mlmake data ls, get */
#include "cli/cmd_data.h"

#include "base/mem.h"

struct ls_flags {
	struct data_ls_options ls;
	const char *remote;
	bool hashes, data_only;
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

/* The repository here, if there is one, and what a word means. */
struct here {
	struct data_repo *repo; /* NULL: none */
	struct data_ui ui;
};

static void here_release(struct here *here)
{
	data_close(here->repo);
}

static void here_open(struct cli *cli, struct here *here)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	here->ui = data_cli_ui(cli);
	if (data_open(NULL, &here->ui, &here->repo, &ignored) < 0)
		here->repo = NULL;
}

static int list(struct cli *cli, const struct args *args, const struct ls_flags *flags, struct data_listing *ret, struct err *err)
{
	struct here here CLEANUP(here_release) = { .repo = NULL };
	struct data_from_options from = { .rev = flags->ls.rev, .remote = flags->remote, .recursive = flags->ls.recursive,
					  .sizes = flags->ls.sizes, .data_only = flags->data_only };
	here_open(cli, &here);
	if (args->len == 2 || (args->len && data_is_other(here.repo, args->at[0])))
		return data_ls_from(here.repo, &here.ui, args->at[0], args->len == 2 ? args->at[1] : NULL, &from, ret, err);
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	return data_cli_open(cli, &repo, err) < 0 ? -1 : data_ls(repo, args->len ? args->at[0] : NULL, &flags->ls, ret, err);
}

static int run_ls(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct ls_flags flags = { .hashes = false };
	const struct option options[] = {
		{ 'R', "recursive", NULL, "the files in directories, too", OPTION_FLAG, &flags.ls.recursive },
		{ 0, "rev", "REV", "as that revision records it", OPTION_STRING, &flags.ls.rev },
		{ 0, "dvc-only", NULL, "of another repository: not what git has", OPTION_FLAG, &flags.data_only },
		{ 0, "remote", "NAME", "of another repository: the remote to ask for manifests (its default one)", OPTION_STRING, &flags.remote },
		{ 0, "size", NULL, "bytes, as far as they are known here", OPTION_FLAG, &flags.ls.sizes },
		{ 0, "hash", NULL, "md5s", OPTION_FLAG, &flags.hashes },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_listing listing CLEANUP(data_listing_release) = { .list = { 0 } };
	flags.ls.sizes = flags.ls.sizes || cli->json;
	if (list(cli, &args, &flags, &listing, err) < 0)
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
	.summary = "list tracked data, of any revision, here or in another repository",
	.usage = "[OPTIONS] [URL] [PATH]",
	.help = "Lists what is tracked in PATH (here), whether it is checked out or not. Manifests that the cache lacks are fetched. --json\n"
		"prints what dvc ls --dvc-only --json prints; sizes of members are known where the cache has them. URL is another repository: a\n"
		"directory or the address of a git repository. There, what git has is listed, too, as dvc ls does.\n\n"
		"Examples:\n"
		"  mlmake data ls -R --size --hash\n"
		"  mlmake data ls data/images --rev v1.0\n"
		"  mlmake data ls https://github.com/iterative/dataset-registry get-started\n",
	.has_json = true,
	.most = 2,
	.wants = "a path, or a repository and a path in it",
	.run = run_ls,
};

static int show_url(struct cli *cli, const struct args *args, const struct data_from_options *from, struct err *err)
{
	struct here here CLEANUP(here_release) = { .repo = NULL };
	struct buf url CLEANUP(buf_release) = BUF_INIT;
	here_open(cli, &here);
	if (data_url_from(here.repo, &here.ui, args->len == 2 ? args->at[0] : ".", args->at[args->len - 1], from, &url, err) < 0)
		return -1;
	cli_progress_clear(cli);
	cli_out(cli, "%s\n", url.data);
	return 0;
}

static int get(struct cli *cli, const struct args *args, const struct data_from_options *from, struct buf *target, size_t *files,
	       struct err *err)
{
	if (args->len == 2) {
		struct here here CLEANUP(here_release) = { .repo = NULL };
		here_open(cli, &here);
		return data_get_from(here.repo, &here.ui, args->at[0], args->at[1], from, target, files, err);
	}
	struct data_get_options options = { .rev = from->rev, .out = from->out, .force = from->force };
	struct data_repo *repo CLEANUP(data_close_ptr) = NULL;
	return data_cli_open(cli, &repo, err) < 0 ? -1 : data_get(repo, args->at[0], &options, target, files, err);
}

static int run_get(struct cli *cli, int argc, char **argv, struct err *err)
{
	struct data_from_options from = { .rev = NULL };
	bool only_url = false;
	const struct option options[] = {
		{ 'o', "out", "OUT", "write it there (its own name, here)", OPTION_STRING, &from.out },
		{ 0, "rev", "REV", "as that revision records it", OPTION_STRING, &from.rev },
		{ 0, "remote", "NAME", "of another repository: the remote to take it from (its default one)", OPTION_STRING, &from.remote },
		{ 0, "show-url", NULL, "print where it lies on the remote, and get nothing", OPTION_FLAG, &only_url },
		{ 'f', "force", NULL, "overwrite a file", OPTION_FLAG, &from.force },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	if (only_url)
		return show_url(cli, &args, &from, err);
	struct buf target CLEANUP(buf_release) = BUF_INIT;
	size_t files = 0;
	if (get(cli, &args, &from, &target, &files, err) < 0)
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
	.summary = "write a tracked file or directory somewhere, of any revision, from here or another repository",
	.usage = "[OPTIONS] [URL] PATH",
	.help = "Takes a tracked path, or a part of a tracked directory, from the cache, else from the remote, and writes a verified copy. The\n"
		"rest of the directory is neither fetched nor checked out, and no .dvc file is touched. URL is another repository: a directory or\n"
		"the address of a git repository; what git has there can be had, too, and no data repository is needed here.\n\n"
		"Examples:\n"
		"  mlmake data get data/images/cat.png -o cat.png\n"
		"  mlmake data get models/model.onnx --rev v1.0 -o old.onnx\n"
		"  mlmake data get https://github.com/iterative/dataset-registry get-started/data.xml\n",
	.has_json = true,
	.least = 1,
	.most = 2,
	.wants = "a path, or a repository and a path in it",
	.run = run_get,
};
