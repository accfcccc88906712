/* DVC's configuration in its four levels, and what a remote's options come to. */
#include "unit/unit.h"

#include "features/data/config.h"
#include "features/data/record.h"

static void write_text(const char *path, const char *text)
{
	struct err err = ERR_INIT;
	assert_ok(fs_mkdirs_for(path, &err), &err);
	assert_ok(fs_write_file(path, text, strlen(text), 0644, FS_VOLATILE, &err), &err);
}

static void load(struct data_config *config, const char *root)
{
	struct err err = ERR_INIT;
	setenv("DVC_GLOBAL_CONFIG_DIR", "global", 1);
	setenv("DVC_SYSTEM_CONFIG_DIR", "system", 1);
	assert_ok(config_load(config, root, &err), &err);
}

static void test_levels(void **state)
{
	struct data_config config CLEANUP(config_release);
	write_text("system/config", "[core]\n    remote = system\n[cache]\n    type = symlink\n");
	write_text("global/config", "[core]\n    remote = global\n    autostage = true\n");
	write_text(".dvc/config", "[core]\n    remote = project\n[cache]\n    dir = ../../shared\n    type = \"hardlink,copy\"\n");
	load(&config, *state);
	assert_string_equal(config.default_remote, "project");
	assert_true(config.autostage);
	assert_int_equal(config.links.count, 2);
	assert_int_equal(config.links.order[0], ODB_HARDLINK);
	assert_string_equal(path_base(config.cache_dir), "shared");
	assert_null(strstr(config.cache_dir, ".."));
}

static void test_a_remote(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct data_config config CLEANUP(config_release);
	struct arena arena CLEANUP(arena_release) = { 0 };
	struct remote_spec spec;
	write_text(".dvc/config", "['remote \"base\"']\n    url = s3://bucket/top/\n    jobs = 7\n    ssl_verify = /ca.pem\n"
				  "['remote \"sub\"']\n    url = remote://base/deeper\n"
				  "['remote \"loop\"']\n    url = remote://loop\n"
				  "['remote \"half\"']\n    url = s3://b\n    access_key_id = x\n"
				  "['remote \"dir\"']\n    url = ../store\n"
				  "['remote \"gs\"']\n    url = gs://host/x\n");
	write_text(".dvc/config.local", "['remote \"base\"']\n    access_key_id = key\n    secret_access_key = secret\n");
	load(&config, *state);
	assert_ok(config_remote(&config, "sub", &arena, &spec, &err), &err);
	assert_string_equal(spec.url, "s3://bucket/top/deeper");
	assert_string_equal(spec.secret_access_key, "secret");
	assert_string_equal(spec.ca_bundle, "/ca.pem");
	assert_int_equal(spec.jobs, 7);
	assert_ok(config_remote(&config, "dir", &arena, &spec, &err), &err);
	assert_int_equal(spec.url[0], '/');
	assert_error(config_remote(&config, "loop", &arena, &spec, &err), &err, ERR_CONFIG, "too many");
	assert_error(config_remote(&config, "half", &arena, &spec, &err), &err, ERR_CONFIG, "only one of");
	assert_error(config_remote(&config, "gs", &arena, &spec, &err), &err, ERR_CONFIG, "not supported");
	assert_error(config_remote(&config, "none", &arena, &spec, &err), &err, ERR_CONFIG, "no remote 'none'");
	assert_error(config_remote(&config, NULL, &arena, &spec, &err), &err, ERR_CONFIG, "no remote is configured");
}

static void test_wrong_values(void **state)
{
	struct err err CLEANUP(err_release) = ERR_INIT;
	struct data_config config;
	write_text(".dvc/config", "[core]\n    autostage = perhaps\n");
	assert_error(config_load(&config, *state, &err), &err, ERR_CONFIG, "perhaps");
	assert_int_equal(err.span.line, 2);
	config_release(&config);
	write_text(".dvc/config", "[cache]\n    type = teleport\n");
	assert_error(config_load(&config, *state, &err), &err, ERR_CONFIG, "teleport");
	config_release(&config);
}

static void test_gitignore_escape(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "plain", "plain" }, { "a b", "a b" },	  { "a b  ", "a b\\ \\ " }, { "#x", "\\#x" },
		{ "!x", "\\!x" },     { "[a]", "\\[a\\]" }, { "a*?", "a\\*\\?" },    { "a\nb", "a?b" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out CLEANUP(buf_release) = BUF_INIT;
		gitignore_escape(&out, cases[i][0]);
		assert_string_equal(out.data, cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_temp_dir(test_levels),
		in_temp_dir(test_a_remote),
		in_temp_dir(test_wrong_values),
		cmocka_unit_test(test_gitignore_escape),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
