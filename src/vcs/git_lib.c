#include "vcs/git_lib.h"

#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct libgit2 git_lib;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
	void *handle = dlopen(LIBGIT2_SONAME, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		git_lib.failure = mem_strdup(dlerror());
		return;
	}
	/* A void pointer from dlsym becomes a function pointer through memory, the way POSIX describes. */
#define X(name)                                                                         \
	{                                                                               \
		void *symbol = dlsym(handle, #name);                                    \
		if (!symbol) {                                                          \
			git_lib.failure = mem_printf("%s lacks %s", LIBGIT2_SONAME, #name); \
			return;                                                         \
		}                                                                       \
		memcpy(&git_lib.name, &symbol, sizeof(symbol));                             \
	}
	LIBGIT2_FUNCTIONS(X)
#undef X
	if (git_lib.git_libgit2_init() < 0) {
		git_lib.failure = mem_strdup("it could not be initialised");
		return;
	}
	/* Neither changes what is read here: one says where per-worktree settings are, one that objects may be absent. */
	const char *extensions[] = { "worktreeconfig", "partialclone" };
	git_lib.git_libgit2_opts(GIT_OPT_SET_EXTENSIONS, extensions, ARRAY_LEN(extensions));
	/* The objects were checked by git; hashing each blob again is half of the time of reading it. */
	git_lib.git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, 0);
	git_lib.git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0); /* check_owner does it */
	const char *no_system = sys.getenv("GIT_CONFIG_NOSYSTEM");
	if (no_system && *no_system && !text_eq(no_system, "0") && !text_eq(no_system, "false"))
		git_lib.git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_SYSTEM, "");
}

int git_lib_need(struct err *err)
{
	pthread_once(&once, load);
	if (!git_lib.failure)
		return 0;
	err_set(err, ERR_FAILED, "cannot load libgit2: %s", git_lib.failure);
	return err_hint(err, "install it: apt-get install libgit2-1.5, or the package that has %s", LIBGIT2_SONAME);
}

/* What libgit2 said, behind what was being done. */
int git_lib_err(struct err *err, const char *doing)
{
	const git_error *last = git_lib.git_error_last();
	const char *text = last && last->message ? last->message : "unknown error of libgit2";
	err_set(err, ERR_FAILED, "%s: %s", doing, text);
	if (strstr(text, "mandatory extension: 'link'"))
		return err_hint(err, "split indexes are not supported: git update-index --no-split-index");
	if (strstr(text, "mandatory extension: 'sdir'"))
		return err_hint(err, "sparse indexes are not supported: git sparse-checkout reapply --no-sparse-index");
	if (strstr(text, "extensions.objectformat"))
		return err_hint(err, "repositories with SHA-256 object names are not supported");
	return -1;
}
