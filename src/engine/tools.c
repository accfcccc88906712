#include "engine/tools.h"

#include "base/path.h"
#include "base/proc.h"
#include "base/sys.h"
#include "base/text.h"
#include "engine/components.h"
#include "engine/environment.h"
#include "store/codec.h"

#include <stdlib.h>
#include <string.h>

#define VERSION_MAX 4096

struct tools {
	const char *root;
	struct state *state;
	struct hashes *hashes;
	const struct foresight *foresight;
	struct map known;   /* "PATH\0word" folded into one string -> struct tool */
	struct map plain;   /* word -> what known has for it in our own PATH; not owned */
	struct buf word;    /* scratch */
};

struct tool {
	bool found;
	bool provided;
	bool has_version;
	struct digest digest;
	char *version;
};

struct tools *tools_new(const char *root, struct state *state, struct hashes *hashes, const struct foresight *foresight)
{
	struct tools *tools = mem_alloc(sizeof(*tools));
	tools->root = root;
	tools->state = state;
	tools->hashes = hashes;
	tools->foresight = foresight;
	buf_init(&tools->word);
	return tools;
}

static void free_tool(void *pointer)
{
	struct tool *tool = pointer;
	free(tool->version);
	free(tool);
}

void tools_free(struct tools *tools)
{
	if (!tools)
		return;
	map_release(&tools->plain);
	map_release_values(&tools->known, free_tool);
	buf_release(&tools->word);
	free(tools);
}

static bool is_one_of(const char *word, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (word[0] == list[i][0] && strcmp(word, list[i]) == 0)
			return true;
	return false;
}

/* What a shell does itself. */
static bool is_builtin(const char *word)
{
	static const char *const list[] = { ":", ".", "[", "[[", "alias", "bg", "break", "case", "cd", "continue", "do", "done", "echo",
		"elif", "else", "esac", "eval", "exit", "export", "false", "fg", "fi", "for", "function", "hash", "if", "in", "local",
		"printf", "pwd", "read", "readonly", "return", "set", "shift", "source", "test", "then", "times", "trap", "true", "type",
		"ulimit", "umask", "unalias", "unset", "until", "wait", "while", "{", "}", "!" };
	return is_one_of(word, list, ARRAY_LEN(list));
}

/* After these another command follows. */
static bool passes_on(const char *word)
{
	static const char *const list[] = { "!", "{", "(", "do", "elif", "else", "if", "then", "time", "until", "while", "exec", "command",
		"env", "nohup", "nice" };
	return is_one_of(word, list, ARRAY_LEN(list));
}

static bool is_assignment(const char *word, size_t len)
{
	size_t name = strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");
	return name > 0 && name < len && word[name] == '=';
}

/* What characters mean between the words of a script, and in them. */
enum { ENDS_WORD = 1, NEEDS_SHELL = 2, BETWEEN = 4, COMMAND_AFTER = 8 };
static const uint8_t meanings[256] = {
	[' '] = ENDS_WORD | BETWEEN,
	['\t'] = ENDS_WORD | BETWEEN,
	['\n'] = ENDS_WORD | COMMAND_AFTER,
	[';'] = ENDS_WORD | COMMAND_AFTER,
	['|'] = ENDS_WORD | COMMAND_AFTER,
	['&'] = ENDS_WORD | COMMAND_AFTER,
	['('] = ENDS_WORD | COMMAND_AFTER,
	[')'] = ENDS_WORD,
	['<'] = ENDS_WORD,
	['>'] = ENDS_WORD,
	['\\'] = NEEDS_SHELL,
	['$'] = NEEDS_SHELL,
	['`'] = NEEDS_SHELL,
	['*'] = NEEDS_SHELL,
	['?'] = NEEDS_SHELL,
	['\''] = NEEDS_SHELL,
	['"'] = NEEDS_SHELL,
};

static unsigned meaning_of(char c)
{
	return meanings[(unsigned char)c];
}

/* The length of the word at text, quotes included; *ret_plain is false if it needs a shell to know what it says. */
static size_t word_len(const char *text, bool *ret_plain)
{
	size_t i = 0;
	*ret_plain = true;
	while (text[i] && !(meaning_of(text[i]) & ENDS_WORD)) {
		char c = text[i++];
		if (!(meaning_of(c) & NEEDS_SHELL))
			continue;
		*ret_plain = false;
		if (c == '\\' && text[i])
			i++;
		if (c == '\'' || c == '"') {
			while (text[i] && text[i] != c)
				i += c == '"' && text[i] == '\\' && text[i + 1] ? 2 : 1;
			if (text[i])
				i++;
		}
	}
	return i;
}

struct words {
	const char *script, *at;
	bool expects; /* a word that follows is a command */
};

/* The next word that names a program, in *word; false at the end. */
static bool next_word(struct words *words, struct buf *word)
{
	while (*words->at) {
		const char *at = words->at;
		unsigned meaning = meaning_of(*at);
		if (*at == '#' && (at == words->script || strchr(" \t\n;", at[-1]))) {
			words->at += strcspn(at, "\n");
			continue;
		}
		if (meaning & ENDS_WORD) {
			if (!(meaning & BETWEEN))
				words->expects = meaning & COMMAND_AFTER;
			words->at++;
			continue;
		}
		bool plain, expected = words->expects;
		size_t len = word_len(at, &plain);
		words->at += len;
		if (!expected || is_assignment(at, len))
			continue;
		buf_reset(word);
		buf_add(word, at, len);
		words->expects = passes_on(word->data) || word->data[0] == '-';
		if (plain && word->data[0] != '-' && !is_builtin(word->data) && !words->expects)
			return true;
	}
	return false;
}

void tools_words(const char *script, struct strlist *ret)
{
	struct words words = { .script = script, .at = script, .expects = true };
	struct buf word CLEANUP(buf_release) = BUF_INIT;
	while (next_word(&words, &word))
		if (!strlist_has(ret, word.data))
			strlist_add(ret, word.data);
}

/* The file that a word stands for, absolute. */
static bool resolve(const struct tools *tools, const char *word, const char *dir, const char *path_value, struct buf *out)
{
	struct buf found CLEANUP(buf_release) = BUF_INIT;
	if (strchr(word, '/')) {
		OWNED char *base = path_joined(tools->root, dir);
		OWNED char *full = path_joined(base, word);
		path_normalize(out, full);
		return fs_is_file(out->data);
	}
	if (!proc_find(word, path_value, &found))
		return false;
	path_join(out, tools->root, found.data);
	return true;
}

/* Where a program of the project, named by its path, will be (-n); false if that is not foreseen. */
static bool follow_foreseen(const struct tools *tools, const char *program, const char *dir, struct buf *ret_real)
{
	struct buf joined CLEANUP(buf_release) = BUF_INIT, path CLEANUP(buf_release) = BUF_INIT;
	if (!tools->foresight->outputs.len || !strchr(program, '/') || program[0] == '/')
		return false;
	path_join(&joined, dir, program);
	path_normalize(&path, joined.data);
	return foresight_follow(tools->foresight, tools->root, path.data, ret_real);
}

static void take_foreseen(const struct tools *tools, const char *path, struct tool *tool)
{
	const struct manifest_entry *entry = foresight_find(tools->foresight, path);
	tool->found = entry && entry->type == HASH_FILE;
	if (tool->found)
		tool->digest = entry->digest;
}

static int hash_program(struct tools *tools, const char *file, struct tool *tool, struct err *err)
{
	struct hash_item item = { .path = file, .follow = true };
	if (hashes_lookup(tools->hashes, DIGEST_SHA256, &item, err) < 0)
		return -1;
	tool->found = item.type == HASH_FILE;
	tool->digest = item.digest;
	return 0;
}

static void add_stamp(struct buf *out, const struct stat *st)
{
	struct fs_stamp stamp;
	fs_stamp_of(&stamp, st);
	codec_add_u64(out, stamp.size);
	codec_add_u64(out, (uint64_t)stamp.mtime_ns);
	codec_add_u64(out, (uint64_t)stamp.ctime_ns);
	codec_add_u64(out, stamp.ino);
}

static int ask_version(struct tools *tools, const char *path, const struct tool_ref *ref, struct tool *tool)
{
	struct err ignored CLEANUP(err_release) = ERR_INIT;
	struct buf out CLEANUP(buf_release) = BUF_INIT;
	OWNED char *path_var = mem_printf("PATH=%s", path);
	OWNED char *home_var = mem_printf("HOME=%s", sys.getenv("HOME") ? sys.getenv("HOME") : "/");
	const char *env[] = { path_var, home_var, "LC_ALL=C", NULL };
	VEC(const char *) argv = { 0 };
	for (size_t i = 0; i < ref->version_argv.len; i++)
		vec_push(&argv, ref->version_argv.at[i]);
	vec_push(&argv, NULL);
	struct proc_spec spec = PROC_SPEC_INIT;
	spec.argv = argv.at;
	spec.env = env;
	spec.dir = tools->root;
	struct proc_capture capture = { .out = &out, .errout = &out, .max = VERSION_MAX };
	int failed = proc_run(&spec, &capture, &ignored);
	vec_release(&argv);
	if (failed || capture.ret_exit != 0)
		return -1;
	while (out.len && strchr(" \t\r\n", out.data[out.len - 1]))
		buf_truncate(&out, out.len - 1);
	/* "Python 3.11.2" says its name itself; the component has one already. */
	size_t name = strcspn(out.data, " ");
	bool repeats = out.data[name] == ' ' && strncasecmp(out.data, ref->name, name) == 0 && strlen(ref->name) == name;
	tool->version = mem_strdup(out.data + (repeats ? name + 1 : 0));
	tool->has_version = tool->found = true;
	return 0;
}

/* The version that a command prints, asked again only when the executable's stamp is another. */
static int find_version(struct tools *tools, const char *path, const struct tool_ref *ref, const char *file,
			struct tool *tool, struct err *err)
{
	struct buf name CLEANUP(buf_release) = BUF_INIT;
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	struct stat st;
	const void *bytes;
	size_t len;
	if (sys.fstatat(AT_FDCWD, file, &st, 0) < 0)
		return 0;
	buf_addstr(&name, file);
	for (size_t i = 0; i < ref->version_argv.len; i++)
		buf_addf(&name, "\n%s", ref->version_argv.at[i]);
	add_stamp(&value, &st);
	if (state_get(tools->state, STATE_TOOLS, name.data, &bytes, &len) && len > value.len && memcmp(bytes, value.data, value.len) == 0) {
		tool->version = mem_strndup((const char *)bytes + value.len, len - value.len - 1);
		tool->has_version = tool->found = true;
		return 0;
	}
	if (ask_version(tools, path, ref, tool) < 0)
		return hash_program(tools, file, tool, err);
	buf_add(&value, tool->version, strlen(tool->version) + 1);
	return state_put(tools->state, STATE_TOOLS, name.data, value.data, value.len, err);
}

static bool is_below_any(const struct string_list *dirs, const char *path)
{
	for (size_t i = 0; i < dirs->len; i++)
		if (path_inside(dirs->at[i], path))
			return true;
	return false;
}

static bool is_provided(const struct target *target, const char *root, const char *file)
{
	struct buf below CLEANUP(buf_release) = BUF_INIT;
	if (!target->path_front.len || !path_inside(root, file))
		return false;
	path_relative(&below, root, file);
	return is_below_any(&target->path_front, below.data);
}

static int find_tool(struct tools *tools, const struct target *target, const char *word, const struct tool_ref *ref,
		     const struct tool **ret, struct err *err)
{
	struct buf key CLEANUP(buf_release) = BUF_INIT;
	struct buf file CLEANUP(buf_release) = BUF_INIT;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	const char *program = ref && ref->version_argv.len ? ref->version_argv.at[0] : word;
	const char *dir = ref ? "" : target->dir;
	/* What lies in the project may have been made by a target that has just run: looked at each time. */
	bool lasting = !strchr(program, '/') || program[0] == '/';
	environment_add_path(&path, tools->root, target);
	buf_addf(&key, "%s\n%s\n%s\n%s", path.data, dir, program, ref ? "version" : "");
	for (size_t i = 0; ref && i < ref->version_argv.len; i++)
		buf_addf(&key, "\n%s", ref->version_argv.at[i]);
	struct map_entry *entry = map_entry(&tools->known, key.data);
	if (entry->value && lasting) {
		*ret = entry->value;
		return 0;
	}
	if (entry->value)
		free_tool(entry->value);
	struct tool *tool = mem_alloc(sizeof(*tool));
	entry->value = tool;
	*ret = tool;
	if (follow_foreseen(tools, program, dir, &file)) {
		take_foreseen(tools, file.data, tool);
		return 0;
	}
	buf_reset(&file);
	if (!resolve(tools, program, dir, path.data, &file))
		return 0;
	/* Found in a directory that a need provides: its result counts already. */
	tool->provided = is_provided(target, tools->root, file.data);
	if (tool->provided)
		return 0;
	if (ref && ref->version_argv.len)
		return find_version(tools, path.data, ref, file.data, tool, err);
	return hash_program(tools, file.data, tool, err);
}

static void add_component(struct buf *list, const char *name, const struct tool *tool)
{
	if (tool->provided)
		return;
	if (!tool->found)
		components_add_absent(list, COMPONENT_TOOL, name);
	else if (tool->has_version)
		components_add_text(list, COMPONENT_TOOL, name, tool->version);
	else
		components_add_digest(list, COMPONENT_TOOL, name, 'x', &tool->digest);
}

static bool is_declared(const struct target *target, const char *word)
{
	for (size_t i = 0; i < target->settings->tools.len; i++) {
		const struct tool_ref *ref = &target->settings->tools.at[i];
		if (strcmp(ref->name, word) == 0 || (ref->version_argv.len && strcmp(ref->version_argv.at[0], word) == 0))
			return true;
	}
	return false;
}

/* A program that the target makes itself is its result, not what it depends on; so is what lies beside its stamp. What a need
 * provides counts by the need's result. */
static bool is_result(const struct target *target, const char *word)
{
	struct buf joined CLEANUP(buf_release) = BUF_INIT;
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	if (!strchr(word, '/') || word[0] == '/')
		return false;
	path_join(&joined, target->dir, word);
	path_normalize(&path, joined.data);
	for (size_t i = 0; i < target->outputs.len; i++)
		if (path_inside(target->outputs.at[i].path, path.data))
			return true;
	if (is_below_any(&target->settings->path, path.data) || is_below_any(&target->path_front, path.data))
		return true;
	struct buf made CLEANUP(buf_release) = BUF_INIT;
	if (target->settings->stamp)
		path_dir(&made, target->settings->stamp);
	return target->settings->stamp && strcmp(made.data, ".") != 0 && path_inside(made.data, path.data);
}

/* A bare name that is looked up in our own PATH is the same program for every target. */
static bool is_plain(const struct target *target, const char *word)
{
	if (target->path_front.len || strchr(word, '/'))
		return false;
	for (size_t i = 0; i < target->settings->env.len; i++)
		if (strcmp(target->settings->env.at[i].name, "PATH") == 0)
			return false;
	return true;
}

static int add_word(struct tools *tools, const struct target *target, const char *word, struct buf *list, struct err *err)
{
	const struct tool *tool = NULL;
	if (is_declared(target, word) || is_result(target, word))
		return 0;
	bool plain = is_plain(target, word);
	if (plain)
		tool = map_get(&tools->plain, word);
	if (!tool && find_tool(tools, target, word, NULL, &tool, err) < 0)
		return -1;
	if (plain && !map_has(&tools->plain, word))
		map_set(&tools->plain, word, (void *)(uintptr_t)tool);
	add_component(list, word, tool);
	return 0;
}

static int add_script(struct tools *tools, const struct target *target, const char *script, struct buf *list, struct err *err)
{
	struct words words = { .script = script, .at = script, .expects = true };
	struct strlist seen CLEANUP(strlist_release) = { 0 };
	while (next_word(&words, &tools->word)) {
		if (strlist_has(&seen, tools->word.data))
			continue;
		strlist_add(&seen, tools->word.data);
		if (add_word(tools, target, tools->word.data, list, err) < 0)
			return -1;
	}
	return 0;
}

int tools_add(struct tools *tools, const struct target *target, struct buf *list, struct err *err)
{
	for (size_t i = 0; i < target->settings->tools.len; i++) {
		const struct tool *tool;
		if (find_tool(tools, target, target->settings->tools.at[i].name, &target->settings->tools.at[i], &tool, err) < 0)
			return -1;
		add_component(list, target->settings->tools.at[i].name, tool);
	}
	if (target->run.len && target->settings->shell.len && add_word(tools, target, target->settings->shell.at[0], list, err) < 0)
		return -1;
	for (size_t i = 0; i < target->run.len; i++)
		if (add_script(tools, target, target->run.at[i], list, err) < 0)
			return -1;
	return 0;
}

char *tools_unknown(const struct tools *tools, const struct target *target)
{
	struct buf path CLEANUP(buf_release) = BUF_INIT;
	for (size_t i = 0; i < target->settings->tools.len; i++) {
		const struct tool_ref *ref = &target->settings->tools.at[i];
		buf_reset(&path);
		if (ref->version_argv.len && follow_foreseen(tools, ref->version_argv.at[0], "", &path))
			return buf_detach(&path);
	}
	return NULL;
}
