#include "features/hook/merge_driver.h"

#include "base/fs.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/text.h"

#include <string.h>

#define LINE "*.dvc merge=mlmake"
#define MAX_ATTRIBUTES ((size_t)1 << 20)
#define NOT_SET 1   /* exit codes of git config */
#define NO_SECTION 128

/* git config on the repository's own file; its output goes to out. */
static int git_config(struct git_repo *repo, const char *const words[4], struct buf *out, int *ret_exit, struct err *err)
{
	OWNED char *file = path_joined(git_common_dir(repo), "config");
	const char *argv[] = { "git", "config", "--file", file, words[0], words[1], words[2], words[3], NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	struct buf complaint CLEANUP(buf_release) = BUF_INIT;
	struct proc_capture capture = { .out = out, .errout = &complaint, .max = MAX_ATTRIBUTES };
	spec.argv = argv;
	if (proc_run(&spec, &capture, err) < 0)
		return -1;
	*ret_exit = capture.ret_exit;
	if (capture.ret_exit == 0 || capture.ret_exit == NOT_SET || capture.ret_exit == NO_SECTION)
		return 0;
	return err_set(err, ERR_FAILED, "git config failed: %s", complaint.data);
}

static int get_driver(struct git_repo *repo, struct buf *ret, struct err *err)
{
	static const char *const words[4] = { "--get", "merge.mlmake.driver" };
	int exit_code;
	if (git_config(repo, words, ret, &exit_code, err) < 0)
		return -1;
	if (ret->len && ret->data[ret->len - 1] == '\n')
		buf_truncate(ret, ret->len - 1);
	return 0;
}

static int read_attributes(struct git_repo *repo, struct buf *ret_path, struct buf *text, struct err *err)
{
	path_join(ret_path, git_common_dir(repo), "info/attributes");
	return fs_exists(ret_path->data) ? fs_read_file(ret_path->data, MAX_ATTRIBUTES, text, err) : 0;
}

/* Where our line begins; NULL if it is not there. */
static char *find_line(const struct buf *text)
{
	for (char *at = text->data; at && *at; at += *at == '\n') {
		size_t len = strcspn(at, "\n");
		if (len == strlen(LINE) && memcmp(at, LINE, len) == 0)
			return at;
		at += len;
	}
	return NULL;
}

int merge_driver_look(struct git_repo *repo, bool *ret_installed, struct err *err)
{
	struct buf driver CLEANUP(buf_release) = BUF_INIT, path CLEANUP(buf_release) = BUF_INIT, text CLEANUP(buf_release) = BUF_INIT;
	if (get_driver(repo, &driver, err) < 0 || read_attributes(repo, &path, &text, err) < 0)
		return -1;
	*ret_installed = driver.len && find_line(&text);
	return 0;
}

/* git gives it to a shell, after it has filled in what follows a percent sign. */
static void make_driver(const char *program, struct buf *out)
{
	struct buf quoted CLEANUP(buf_release) = BUF_INIT;
	text_add_shell_quoted(&quoted, program);
	buf_addstr(out, "m=$(command -v mlmake || echo ");
	for (size_t i = 0; i < quoted.len; i++)
		buf_addf(out, quoted.data[i] == '%' ? "%%%%" : "%c", quoted.data[i]);
	buf_addstr(out, "); \"$m\" data merge-driver %O %A %B %P");
}

int merge_driver_install(struct git_repo *repo, const char *program, bool *ret_changed, struct err *err)
{
	struct buf driver CLEANUP(buf_release) = BUF_INIT, path CLEANUP(buf_release) = BUF_INIT, text CLEANUP(buf_release) = BUF_INIT;
	struct buf now CLEANUP(buf_release) = BUF_INIT, out CLEANUP(buf_release) = BUF_INIT;
	int exit_code;
	make_driver(program, &driver);
	if (get_driver(repo, &now, err) < 0 || read_attributes(repo, &path, &text, err) < 0)
		return -1;
	bool same = text_eq(now.data, driver.data), has_line = find_line(&text) != NULL;
	*ret_changed = !same || !has_line;
	const char *const set_name[4] = { "merge.mlmake.name", "data directories, member by member" };
	const char *const set_driver[4] = { "merge.mlmake.driver", driver.data };
	if (!same && (git_config(repo, set_name, &out, &exit_code, err) < 0 || git_config(repo, set_driver, &out, &exit_code, err) < 0))
		return -1;
	if (!same && exit_code)
		return err_set(err, ERR_FAILED, "git could not write its config in %s", git_common_dir(repo));
	if (has_line)
		return 0;
	if (text.len && text.data[text.len - 1] != '\n')
		buf_addch(&text, '\n');
	buf_addstr(&text, LINE "\n");
	if (fs_mkdirs_for(path.data, err) < 0)
		return -1;
	return fs_write_file(path.data, text.data, text.len, 0666, FS_SYNCED, err);
}

int merge_driver_uninstall(struct git_repo *repo, bool *ret_changed, struct err *err)
{
	static const char *const words[4] = { "--remove-section", "merge.mlmake" };
	struct buf path CLEANUP(buf_release) = BUF_INIT, text CLEANUP(buf_release) = BUF_INIT, out CLEANUP(buf_release) = BUF_INIT;
	int exit_code;
	if (git_config(repo, words, &out, &exit_code, err) < 0 || read_attributes(repo, &path, &text, err) < 0)
		return -1;
	const char *line = find_line(&text);
	*ret_changed = exit_code == 0 || line;
	if (!line)
		return 0;
	struct buf rest CLEANUP(buf_release) = BUF_INIT;
	const char *after = line + strlen(LINE);
	after += *after == '\n';
	buf_add(&rest, text.data, (size_t)(line - text.data));
	buf_addstr(&rest, after);
	return rest.len ? fs_write_file(path.data, rest.data, rest.len, 0666, FS_SYNCED, err) : fs_remove(path.data, err);
}
