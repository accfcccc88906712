/* mlmake data ls, get */
#include "cli/cmd_data.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

const char data_no_config[] = "the other repository's own remotes are asked, and --remote NAME chooses one; with other options: clone it, mlmake data config, "
			      "mlmake data pull there";

struct ls_flags {
	struct data_ls_options ls;
	const char *remote;
	bool hashes, data_only, tree;
	unsigned level; /* 0: all */
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

static void print_columns(struct cli *cli, const struct data_listed *listed, const struct ls_flags *flags)
{
	char *size OWNED = listed && listed->has_size ? mem_printf("%llu", (unsigned long long)listed->size) : mem_strdup("-");
	if (flags->ls.sizes)
		cli_out(cli, "%12s  ", size);
	if (flags->hashes)
		cli_out(cli, "%-36s  ", listed && listed->md5 ? listed->md5 : "-");
}

static void print_text(struct cli *cli, const struct data_listing *listing, const struct ls_flags *flags)
{
	for (size_t i = 0; i < listing->list.len; i++) {
		const struct data_listed *listed = &listing->list.at[i];
		print_columns(cli, listed, flags);
		cli_out(cli, "%s\n", listed->path);
	}
}

/* The length of the first depth components of path, or 0 if it has fewer. */
static size_t head_length(const char *path, unsigned depth)
{
	size_t len = 0;
	for (unsigned k = 0; k < depth; k++) {
		if (k && path[len] != '/')
			return 0;
		len += (k ? 1 : 0);
		len += strcspn(path + len, "/");
	}
	return len;
}

/* Whether one of the entries behind i lies in the same directory (its first depth components), but in another entry of it. */
static bool has_sibling(const struct data_listing *listing, size_t i, unsigned depth)
{
	const char *path = listing->list.at[i].path;
	size_t dir = head_length(path, depth), own = head_length(path, depth + 1);
	for (size_t k = i + 1; k < listing->list.len; k++) {
		const char *other = listing->list.at[k].path;
		if (depth && (strncmp(other, path, dir) != 0 || other[dir] != '/'))
			return false;
		if (strncmp(other, path, own) != 0 || (other[own] && other[own] != '/'))
			return true;
	}
	return false;
}

static int compare_components(const void *a, const void *b)
{
	const char *x = ((const struct data_listed *)a)->path, *y = ((const struct data_listed *)b)->path;
	for (; *x && *x == *y; x++, y++)
		;
	/* '/' before everything else keeps what a directory holds together. */
	int left = *x == '/' ? 1 : (unsigned char)*x + (*x ? 1 : 0), right = *y == '/' ? 1 : (unsigned char)*y + (*y ? 1 : 0);
	return left - right;
}

/* From a listing of files: each directory is printed where its first file comes. */
static void print_tree(struct cli *cli, struct data_listing *listing, const struct ls_flags *flags)
{
	struct buf bars CLEANUP(buf_release) = BUF_INIT, lasts CLEANUP(buf_release) = BUF_INIT; /* a byte a depth */
	const char *before = "";
	qsort(listing->list.at, listing->list.len, sizeof(*listing->list.at), compare_components);
	for (size_t i = 0; i < listing->list.len; i++) {
		const struct data_listed *listed = &listing->list.at[i];
		buf_setstr(&bars, "");
		for (unsigned depth = 1; head_length(listed->path, depth) && (!flags->level || depth <= flags->level); depth++) {
			size_t len = head_length(listed->path, depth), dir = depth > 1 ? head_length(listed->path, depth - 1) + 1 : 0;
			bool printed = strncmp(before, listed->path, len) == 0 && before[len] == '/';
			if (!printed)
				buf_truncate(&lasts, depth - 1);
			if (!printed)
				buf_addch(&lasts, !has_sibling(listing, i, depth - 1));
			bool last = lasts.data[depth - 1];
			if (!printed) {
				print_columns(cli, listed->path[len] ? NULL : listed, flags);
				cli_out(cli, "%s%s%.*s\n", bars.data, last ? "└── " : "├── ", (int)(len - dir), listed->path + dir);
			}
			buf_addstr(&bars, last ? "    " : "│   ");
		}
		before = listed->path;
	}
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(((const struct data_listed *)a)->path, ((const struct data_listed *)b)->path);
}

/* What lies deeper is its directory; a directory without files stands only for that of the last level, as in dvc. */
static void keep_levels(struct data_listing *listing, unsigned level)
{
	size_t kept = 0;
	for (size_t i = 0; level && i < listing->list.len; i++) {
		struct data_listed *listed = &listing->list.at[i];
		if (head_length(listed->path, level + 1)) {
			listed->path[head_length(listed->path, level)] = '\0';
			free(listed->md5);
			listed->md5 = NULL;
			listed->is_dir = true;
			listed->exec = listed->has_size = false;
		}
		bool above = listed->is_dir && !head_length(listed->path, level);
		if (above || (kept && strcmp(listing->list.at[kept - 1].path, listed->path) == 0)) {
			free(listed->path);
			free(listed->md5);
		} else
			listing->list.at[kept++] = *listed;
	}
	if (!level)
		return;
	listing->list.len = kept;
	qsort(listing->list.at, kept, sizeof(*listing->list.at), compare_paths);
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
					  .empty = flags->ls.empty, .sizes = flags->ls.sizes, .data_only = flags->data_only };
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
		{ 'T', "tree", NULL, "as a tree", OPTION_FLAG, &flags.tree },
		{ 'L', "level", "N", "with -R or --tree: at most N directories deep", OPTION_UINT, &flags.level },
		{ 0, "remote", "NAME", "of another repository: the remote to ask for manifests (its default one)", OPTION_STRING, &flags.remote },
		{ 0, "size", NULL, "bytes, as far as they are known here", OPTION_FLAG, &flags.ls.sizes },
		{ 0, "hash", NULL, "md5s", OPTION_FLAG, &flags.hashes },
		{ 0, "show-hash", NULL, "the same", OPTION_FLAG, &flags.hashes },
		{ 0, "config", NULL, data_no_config, OPTION_REFUSED, NULL },
		{ 0, "remote-config", NULL, data_no_config, OPTION_REFUSED, NULL },
		OPTION_END,
	};
	struct args args;
	int go_on = cli_parse(cli, options, argc, argv, &args, err);
	if (go_on <= 0)
		return go_on;
	struct data_listing listing CLEANUP(data_listing_release) = { .list = { 0 } };
	if (flags.tree && cli->json)
		return err_set(err, ERR_CONFIG, "--tree and --json exclude each other");
	flags.ls.sizes = flags.ls.sizes || cli->json;
	flags.ls.recursive = flags.ls.recursive || flags.tree;
	flags.ls.empty = flags.tree || flags.level; /* as dvc has it */
	if (list(cli, &args, &flags, &listing, err) < 0)
		return -1;
	cli_progress_clear(cli);
	if (!flags.tree)
		keep_levels(&listing, flags.level);
	if (cli->json)
		print_json(cli, &listing);
	else if (flags.tree)
		print_tree(cli, &listing, &flags);
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
		"  mlmake data ls --tree -L 2\n"
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
		{ 'j', "jobs", "N", "", OPTION_ACCEPTED, NULL },
		{ 0, "config", NULL, data_no_config, OPTION_REFUSED, NULL },
		{ 0, "remote-config", NULL, data_no_config, OPTION_REFUSED, NULL },
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
