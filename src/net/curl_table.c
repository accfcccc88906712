#include "net/curl_table.h"

#include <dlfcn.h>
#include <string.h>

static int load_symbol(void *library, const char *name, void *ret_function, struct err *err)
{
	void *symbol = dlsym(library, name);
	if (!symbol) {
		err_set(err, ERR_FAILED, "%s has no function %s", LIBCURL_SONAME, name);
		return err_hint(err, "libcurl 7.85 or newer is needed: apt-get install libcurl4");
	}
	memcpy(ret_function, &symbol, sizeof(symbol));
	return 0;
}

int curl_table_load(struct curl_table *ret, struct err *err)
{
	void *library = dlopen(LIBCURL_SONAME, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!library) {
		const char *why = dlerror();
		err_set(err, ERR_FAILED, "cannot load libcurl, which remotes on the network need: %s", why ? why : LIBCURL_SONAME);
		return err_hint(err, "apt-get install libcurl4");
	}
#define CURL_TABLE_LOAD(name)                                                 \
	if (load_symbol(library, "curl_" #name, &ret->name, err) < 0)         \
		return -1;
	CURL_TABLE(CURL_TABLE_LOAD)
#undef CURL_TABLE_LOAD
	return 0;
}
