#include "net/web_list.h"

#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "net/http_answer.h"
#include "net/xml.h"

#include <string.h>

#define MAX_LISTING ((size_t)64 << 20)
#define MAX_DEPTH 32

struct listing {
	struct web *web;
	const char *prefix;
	remote_visit_fn *visit;
	void *ctx;
};

/* Sets key to what an href means below the root; false if it is not below it. Both are compared decoded: servers encode as they like. */
static bool key_of_href(const struct listing *listing, const struct buf *href, struct buf *key)
{
	struct buf root CLEANUP(buf_release) = BUF_INIT, path CLEANUP(buf_release) = BUF_INIT;
	const char *host = strstr(href->data, "://");
	const char *at = href->data[0] != '/' && host ? host + 3 + strcspn(host + 3, "/") : href->data;
	buf_addstr(&root, web_path(listing->web));
	buf_addch(&root, '/');
	http_url_decode(&root, false);
	buf_addstr(&path, at);
	http_url_decode(&path, false);
	if (!text_starts(path.data, root.data) || strlen(path.data) != path.len)
		return false;
	buf_setstr(key, path.data + root.len);
	while (key->len && key->data[key->len - 1] == '/')
		buf_truncate(key, key->len - 1);
	return true;
}

struct dav_entry {
	struct buf href, key, text;
	bool collection;
	uint64_t size;
	int64_t modified_s;
};

static void dav_entry_release(struct dav_entry *entry)
{
	buf_release(&entry->href);
	buf_release(&entry->key);
	buf_release(&entry->text);
}

static int take_entry(const struct listing *listing, struct dav_entry *entry, const char *asked, struct strlist *ret_below, struct err *err)
{
	struct buf parent CLEANUP(buf_release) = BUF_INIT;
	if (!key_of_href(listing, &entry->href, &entry->key) || strcmp(entry->key.data, asked) == 0 || !path_is_safe(entry->key.data))
		return 0;
	path_dir(&parent, entry->key.data);
	if (strcmp(text_eq(parent.data, ".") ? "" : parent.data, asked) != 0 || text_eq(entry->key.data, WEB_TEMP_DIR))
		return 0;
	size_t common = entry->key.len < strlen(listing->prefix) ? entry->key.len : strlen(listing->prefix);
	if (strncmp(entry->key.data, listing->prefix, common) != 0)
		return 0;
	if (entry->collection) {
		strlist_add(ret_below, entry->key.data);
		return 0;
	}
	return text_starts(entry->key.data, listing->prefix)
		       ? listing->visit(listing->ctx, entry->key.data, entry->size, entry->modified_s, err) : 0;
}

static int read_multistatus(const struct listing *listing, const struct buf *body, const char *asked, struct strlist *ret_below, struct err *err)
{
	struct xml_scan scan = { .at = body->data, .end = body->data + body->len };
	struct dav_entry entry CLEANUP(dav_entry_release) = { .href = BUF_INIT, .key = BUF_INIT, .text = BUF_INIT };
	bool complete = false;
	while (xml_next(&scan)) {
		if (scan.kind == XML_CLOSE) {
			if (xml_is(&scan, "response")) {
				if (take_entry(listing, &entry, asked, ret_below, err) < 0)
					return -1;
				entry.collection = false;
				entry.size = 0;
				entry.modified_s = 0;
				buf_reset(&entry.href);
			}
			complete = complete || xml_is(&scan, "multistatus");
		} else if (xml_is(&scan, "href"))
			xml_text(&scan, &entry.href);
		else if (xml_is(&scan, "collection"))
			entry.collection = true;
		else if (xml_is(&scan, "getcontentlength")) {
			xml_text(&scan, &entry.text);
			if (!text_parse_u64(entry.text.data, &entry.size))
				entry.size = 0;
		} else if (xml_is(&scan, "getlastmodified")) {
			xml_text(&scan, &entry.text);
			entry.modified_s = http_parse_date(entry.text.data);
		}
	}
	return complete ? 0 : err_set(err, ERR_NET, "the server's listing ends in the middle, or is none");
}

static int list_collection(const struct listing *listing, const char *key, unsigned depth, struct err *err)
{
	static const char body[] = "<?xml version=\"1.0\"?><propfind xmlns=\"DAV:\"><prop><resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>";
	struct web_op op CLEANUP(web_op_release) = WEB_OP_INIT;
	struct strlist below CLEANUP(strlist_release) = { 0 };
	char *slash OWNED = *key ? mem_printf("%s/", key) : mem_strdup("");
	op.method = "PROPFIND";
	op.key = slash;
	op.body = body;
	op.body_len = sizeof(body) - 1;
	op.response_max = MAX_LISTING;
	strlist_add(&op.headers, "Depth: 1");
	strlist_add(&op.headers, "Content-Type: application/xml");
	if (depth > MAX_DEPTH)
		return err_set(err, ERR_NET, "the remote is nested more than %d deep", MAX_DEPTH);
	if (web_run(listing->web, &op, err) < 0)
		return -1;
	if (op.ret_outcome == WEB_UNABLE)
		return err_move(err, &op.ret_err);
	if (op.ret_outcome != WEB_OK)
		return 0;
	if (read_multistatus(listing, &op.response, key, &below, err) < 0)
		return -1;
	for (size_t i = 0; i < below.len; i++)
		if (list_collection(listing, below.at[i], depth + 1, err) < 0)
			return -1;
	return 0;
}

int web_list(struct web *web, const char *prefix, remote_visit_fn *visit, void *ctx, struct err *err)
{
	struct listing listing = { .web = web, .prefix = prefix, .visit = visit, .ctx = ctx };
	const char *slash = strrchr(prefix, '/');
	char *start OWNED = mem_strndup(prefix, slash ? (size_t)(slash - prefix) : 0);
	return list_collection(&listing, start, 0, err);
}
