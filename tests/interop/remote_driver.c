/*
 * src/net without the commands above it, for tests/interop and tests/bench:
 *
 *     remote_driver check|put|get|remove URL [option=value ...] < "key TAB path TAB size TAB md5 [TAB from]" lines ("-" where unknown;
 *                                                         from: only that part of the object)
 *     remote_driver list URL PREFIX [option=value ...]
 *     remote_driver sweep URL [option=value ...]       (size: how many leftovers went)
 *     remote_driver credentials [option=value ...]
 *     remote_driver sign SERVICE < requests            (see tests/interop/test_remote_sign.py)
 *
 * Options are the fields of struct remote_spec, stats=1, and stop_after=N (the sink ends the call after N items).
 * Prints "state TAB key TAB size TAB message TAB hint" for each item. Exits with the error's code if the call fails as a whole.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/aws_profile.h"
#include "net/credentials.h"
#include "net/remote.h"
#include "net/sigv4.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct options {
	struct remote_spec spec;
	bool stats;
	size_t stop_after;
};

static int usage(void)
{
	fputs("usage: remote_driver check|put|get|remove|list|sweep|credentials|sign ...\n", stderr);
	return ERR_CONFIG;
}

static bool take_option(struct options *options, char *text)
{
	struct { const char *name; const char **field; } texts[] = {
		{ "name", &options->spec.name }, { "region", &options->spec.region }, { "profile", &options->spec.profile },
		{ "endpoint_url", &options->spec.endpoint_url }, { "access_key_id", &options->spec.access_key_id },
		{ "secret_access_key", &options->spec.secret_access_key }, { "session_token", &options->spec.session_token },
		{ "credential_path", &options->spec.credential_path }, { "config_path", &options->spec.config_path },
		{ "ca_bundle", &options->spec.ca_bundle }, { "sse", &options->spec.sse }, { "resume_dir", &options->spec.resume_dir },
		{ "partial_dir", &options->spec.partial_dir }, { "pack_dir", &options->spec.pack_dir },
		{ "sse_kms_key_id", &options->spec.sse_kms_key_id }, { "sse_customer_algorithm", &options->spec.sse_customer_algorithm },
		{ "sse_customer_key", &options->spec.sse_customer_key }, { "acl", &options->spec.acl },
		{ "grant_read", &options->spec.grant_read }, { "grant_read_acp", &options->spec.grant_read_acp },
		{ "grant_write_acp", &options->spec.grant_write_acp }, { "grant_full_control", &options->spec.grant_full_control },
		{ "user", &options->spec.user }, { "password", &options->spec.password }, { "auth", &options->spec.auth },
		{ "custom_auth_header", &options->spec.custom_auth_header }, { "token", &options->spec.token },
		{ "method", &options->spec.method }, { "cert_path", &options->spec.cert_path }, { "key_path", &options->spec.key_path },
		{ "keyfile", &options->spec.keyfile },
	};
	char *value = strchr(text, '=');
	if (!value)
		return false;
	*value++ = '\0';
	unsigned number = (unsigned)strtoul(value, NULL, 10);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (strcmp(texts[i].name, text) == 0) {
			*texts[i].field = value;
			return true;
		}
	}
	if (strcmp(text, "jobs") == 0)
		options->spec.jobs = number;
	else if (strcmp(text, "port") == 0)
		options->spec.port = number;
	else if (strcmp(text, "connect_timeout_s") == 0)
		options->spec.connect_timeout_s = number;
	else if (strcmp(text, "read_timeout_s") == 0)
		options->spec.read_timeout_s = number;
	else if (strcmp(text, "anonymous") == 0)
		options->spec.anonymous = number;
	else if (strcmp(text, "no_ssl_verify") == 0)
		options->spec.no_ssl_verify = number;
	else if (strcmp(text, "limit_rate") == 0)
		options->spec.limit_rate = number;
	else if (strcmp(text, "packed") == 0)
		options->spec.packed = number;
	else if (strcmp(text, "no_ssl") == 0)
		options->spec.no_ssl = number;
	else if (strcmp(text, "stats") == 0)
		options->stats = number;
	else if (strcmp(text, "stop_after") == 0)
		options->stop_after = number;
	else
		return false;
	return true;
}

static void print_text(const char *text)
{
	for (; text && *text; text++)
		putchar(*text == '\t' || *text == '\n' ? ' ' : *text);
}

static int print_error(const struct err *err)
{
	printf("error\t%d\t0\t", err->code);
	print_text(err->message);
	for (size_t i = 0; i < err->note_count; i++) {
		printf(" / ");
		print_text(err->notes[i]);
	}
	putchar('\t');
	print_text(err->hint);
	putchar('\n');
	return (int)err->code;
}

static double seconds(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void print_stats(uint64_t started)
{
	struct rusage use;
	getrusage(RUSAGE_SELF, &use);
	fprintf(stderr, "wall %.2f s, user %.2f s, system %.2f s, peak %ld MiB\n", (double)(loop_now_ms() - started) / 1000,
		seconds(use.ru_utime), seconds(use.ru_stime), use.ru_maxrss / 1024);
}

static struct remote_item parse_item(char *line)
{
	struct remote_item item = { .size = REMOTE_SIZE_UNKNOWN };
	char *fields[5] = { NULL };
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		fields[i] = strsep(&line, "\t");
	item.key = mem_strdup(fields[0]);
	item.path = fields[1] && strcmp(fields[1], "-") ? mem_strdup(fields[1]) : NULL;
	if (fields[2] && strcmp(fields[2], "-"))
		item.size = strtoull(fields[2], NULL, 10);
	if (fields[3] && strcmp(fields[3], "-") && !digest_parse(&item.expect, DIGEST_MD5, fields[3]))
		exit(usage());
	item.part = fields[4] != NULL;
	item.from = item.part ? strtoull(fields[4], NULL, 10) : 0;
	return item;
}

static bool on_progress(void *ctx, size_t items_done, uint64_t bytes_done)
{
	const struct options *options = ctx;
	(void)bytes_done;
	return options->stop_after == 0 || items_done < options->stop_after;
}

static int move(const char *verb, const struct options *options, struct err *err)
{
	static const char *const states[] = { "pending", "done", "missing", "damaged", "failed" };
	VEC(struct remote_item) items = { 0 };
	char *line = NULL;
	size_t room = 0;
	ssize_t len;
	while ((len = getline(&line, &room, stdin)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		vec_push(&items, parse_item(line));
	}
	free(line);
	uint64_t started = loop_now_ms();
	struct remote *remote = NULL;
	const struct remote_sink sink = { .progress = on_progress, .ctx = (void *)(uintptr_t)options };
	int status = remote_open(&options->spec, &remote, err);
	if (status == 0)
		status = (strcmp(verb, "check") == 0 ? remote_check : strcmp(verb, "put") == 0 ? remote_put : strcmp(verb, "get") == 0 ? remote_get : remote_remove)(
			remote, items.at, items.len, &sink, err);
	remote_close(remote);
	if (options->stats)
		print_stats(started);
	for (size_t i = 0; i < items.len; i++) {
		struct remote_item *item = &items.at[i];
		if (!options->stats || item->ret_state != REMOTE_DONE) {
			printf("%s\t%s\t%" PRIu64 "\t", states[item->ret_state], item->key, item->ret_size);
			print_text(item->ret_err.message);
			putchar('\t');
			print_text(item->ret_err.hint);
			putchar('\n');
		}
		err_release(&item->ret_err);
		free((char *)(uintptr_t)item->key);
		free((char *)(uintptr_t)item->path);
	}
	vec_release(&items);
	return status;
}

static int print_object(void *ctx, const char *key, uint64_t size, int64_t modified_s, struct err *err)
{
	(void)modified_s;
	(void)ctx;
	(void)err;
	printf("done\t%s\t%" PRIu64 "\t\t\n", key, size);
	return 0;
}

static int list(const struct options *options, const char *prefix, struct err *err)
{
	struct remote *remote;
	if (remote_open(&options->spec, &remote, err) < 0)
		return -1;
	int status = remote_list(remote, prefix, print_object, NULL, err);
	remote_close(remote);
	return status;
}

static int sweep(const struct options *options, struct err *err)
{
	struct remote *remote;
	if (remote_open(&options->spec, &remote, err) < 0)
		return -1;
	printf("done\t\t%zu\t\t\n", remote_sweep(remote));
	remote_close(remote);
	return 0;
}

static int show_credentials(const struct options *options, struct err *err)
{
	struct aws_profile profile;
	struct credentials credentials;
	if (aws_profile_load(&options->spec, &profile, err) < 0)
		return -1;
	int status = credentials_find(&options->spec, &profile, &credentials, err);
	if (status == 0) {
		printf("%s\t%s\t%s\t%s\t%" PRId64 "\n", credentials.access_key, credentials.secret_key,
		       credentials.session_token ? credentials.session_token : "-", credentials.source, credentials.expires);
		credentials_release(&credentials);
	}
	aws_profile_release(&profile);
	return status;
}

/* A request is lines "KIND value" up to an empty one: KIND is access, secret, token, region, time, method, host, path,
 * query, header, payload. Prints what would be sent, and an empty line. */
static int sign_all(const char *service)
{
	char *line = NULL;
	size_t room = 0;
	bool s3 = strcmp(service, "s3") == 0;
	char *fields[10] = { NULL };
	static const char *const kinds[] = { "access", "secret", "token", "region", "time", "method", "host", "path", "payload" };
	struct strlist query = { 0 }, headers = { 0 };
	while (getline(&line, &room, stdin) > 0) {
		line[strcspn(line, "\n")] = '\0';
		char *value = strchr(line, ' ');
		if (value) {
			*value++ = '\0';
			for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
				if (strcmp(kinds[i], line) == 0) {
					free(fields[i]);
					fields[i] = mem_strdup(value);
				}
			}
			if (strcmp(line, "query") == 0)
				strlist_add(&query, value);
			if (strcmp(line, "header") == 0)
				strlist_add(&headers, value);
			continue;
		}
		struct sigv4 signer = { .access_key = fields[0], .secret_key = fields[1], .session_token = *fields[2] ? fields[2] : NULL,
					.region = fields[3], .service = service, .encode_path_again = !s3, .payload_header = s3 };
		struct sigv4_input input = { .method = fields[5], .host = fields[6], .path = fields[7], .query = &query, .headers = &headers,
					     .payload_hash = fields[8], .now = (time_t)strtoll(fields[4], NULL, 10) };
		struct strlist out = { 0 };
		sigv4_sign(&signer, &input, &out);
		for (size_t i = 0; i < out.len; i++)
			puts(out.at[i]);
		puts("");
		strlist_release(&out);
		strlist_release(&query);
		strlist_release(&headers);
	}
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		free(fields[i]);
	free(line);
	return 0;
}

int main(int argc, char **argv)
{
	struct options options = { .spec = { .name = "test" } };
	struct err err CLEANUP(err_release) = ERR_INIT;
	if (argc < 2)
		return usage();
	const char *verb = argv[1];
	if (strcmp(verb, "sign") == 0 && argc == 3)
		return sign_all(argv[2]);
	int first = strcmp(verb, "credentials") == 0 ? 2 : strcmp(verb, "list") == 0 ? 4 : 3;
	if (argc < first)
		return usage();
	options.spec.url = first > 2 ? argv[2] : "";
	for (int i = first; i < argc; i++) {
		if (!take_option(&options, argv[i]))
			return usage();
	}
	if (strcmp(verb, "sweep") == 0)
		return sweep(&options, &err) < 0 ? print_error(&err) : 0;
	int status = first == 2 ? show_credentials(&options, &err) : first == 4 ? list(&options, argv[3], &err) : move(verb, &options, &err);
	return status < 0 ? print_error(&err) : 0;
}
