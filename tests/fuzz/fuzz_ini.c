/* Any bytes: read or refused. Edits do what they say and leave a file that can be read. */
#include "fuzz.h"

#include "formats/ini.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct ini ini CLEANUP(ini_release) = INI_INIT;
	bool found;
	/* The last line is the value that is set. */
	const uint8_t *newline = memrchr(bytes, '\n', len);
	char *value OWNED = newline ? mem_strndup((const char *)newline + 1, len - (size_t)(newline - bytes) - 1) : mem_strdup("v");
	if (ini_parse(&ini, "config", (const char *)bytes, newline ? (size_t)(newline - bytes) + 1 : len, &err) < 0) {
		MUST(err.message && err.code == ERR_CONFIG);
		return 0;
	}
	size_t keys = ini.keys.len, sections = ini.sections.len;
	bool had = ini_find(&ini, "remote \"r\"", "url") != NULL, had_section = ini_has_section(&ini, "remote \"r\"");
	if (ini_set(&ini, "remote \"r\"", "url", value, &err) < 0) {
		MUST(err.code == ERR_CONFIG && strstr(err.message, "cannot be written"));
		return 0;
	}
	MUST(strcmp(ini_get(&ini, "remote \"r\"", "url"), value) == 0);
	MUST(!ini_find(&ini, "remote \"r\"", "url")->is_list);
	MUST(ini.keys.len == keys + !had && ini.sections.len == sections + !had_section);
	if (!ini_has_section(&ini, "remote \"s\""))
		MUST(ini_rename_section(&ini, "remote \"r\"", "remote \"s\"", &err) == 0);
	MUST(ini_remove_key(&ini, "remote \"s\"", "url", &found, &err) == 0);
	MUST(ini_remove_section(&ini, "remote \"s\"", &found, &err) == 0 && found);
	MUST(!ini_has_section(&ini, "remote \"s\""));
	return 0;
}
