#include "net/s3_list.h"

#include "base/mem.h"
#include "base/text.h"
#include "net/http_answer.h"
#include "net/sigv4.h"
#include "net/xml.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PAGE (8 * 1024 * 1024)

static void ask_page(struct s3_lister *lister, const char *token);

static void add_parameter(struct strlist *query, const char *name, const char *value)
{
	struct buf text = BUF_INIT;
	buf_addf(&text, "%s=", name);
	sigv4_encode(&text, value, false);
	strlist_take(query, buf_detach(&text));
}

static void finish(struct s3_lister *lister, int status)
{
	lister->ret_status = status;
	lister->done(lister->ctx, lister);
}

static int take_object(struct s3_lister *lister, const struct buf *key, uint64_t size, int64_t modified_s,
		       struct err *err)
{
	if (!text_starts(key->data, lister->prefix) || strlen(key->data) != key->len)
		return err_set(err, ERR_NET, "the server listed '%.200s', which is not below '%s'", key->data, lister->prefix);
	buf_setstr(&lister->last, key->data + lister->skip);
	if (lister->last.len == 0 || text_ends(lister->last.data, "/"))
		return 0; /* what some tools leave for a folder */
	return lister->visit(lister->ctx, lister->last.data, size, modified_s, err);
}

struct page {
	bool encoded, truncated;
	struct buf token;
};

static void page_release(struct page *page)
{
	buf_release(&page->token);
}

/* EncodingType may stand behind the objects that it is about, so it is looked for first. */
static int read_page(struct s3_lister *lister, struct page *page, struct err *err)
{
	struct xml_scan scan = { .at = lister->op.response.data, .end = lister->op.response.data + lister->op.response.len };
	struct buf key CLEANUP(buf_release) = BUF_INIT;
	struct buf text CLEANUP(buf_release) = BUF_INIT;
	uint64_t size = 0;
	int64_t modified_s = 0;
	bool complete = false;
	page->encoded = xml_find(scan.at, (size_t)(scan.end - scan.at), "EncodingType", &text) && text_eq(text.data, "url");
	while (xml_next(&scan)) {
		if (scan.kind == XML_CLOSE) {
			if (xml_is(&scan, "Contents") && take_object(lister, &key, size, modified_s, err) < 0)
				return -1;
			complete = complete || xml_is(&scan, "ListBucketResult");
		} else if (xml_is(&scan, "Key")) {
			xml_text(&scan, &key);
			if (page->encoded)
				http_url_decode(&key, true); /* as encoding-type=url encodes */
		} else if (xml_is(&scan, "ETag")) {
			xml_text(&scan, &lister->etag);
		} else if (xml_is(&scan, "LastModified")) {
			xml_text(&scan, &text);
			modified_s = text_parse_utc(text.data);
		} else if (xml_is(&scan, "Size")) {
			xml_text(&scan, &text);
			if (!text_parse_u64(text.data, &size))
				return err_set(err, ERR_NET, "the server listed an object with the size '%.40s'", text.data);
		} else if (xml_is(&scan, "IsTruncated")) {
			xml_text(&scan, &text);
			page->truncated = text_eq(text.data, "true");
		} else if (xml_is(&scan, "NextContinuationToken")) {
			xml_text(&scan, &page->token);
		}
	}
	if (!complete)
		return err_set(err, ERR_NET, "the server's listing of the bucket ends in the middle, or is none");
	if (page->truncated && page->token.len == 0)
		return err_set(err, ERR_NET, "the server's listing says that there is more, and not how to ask for it");
	return 0;
}

/* The mark moves on at every power of two, so that a circle of any length comes upon it. */
static int check_token(struct s3_lister *lister, const struct buf *token, struct err *err)
{
	if (lister->mark.len && text_eq(lister->mark.data, token->data))
		return err_set(err, ERR_NET, "the server's listing of the bucket goes in circles: page %u has the token of an earlier one",
			       lister->ret_pages);
	if ((lister->ret_pages & (lister->ret_pages - 1)) == 0)
		buf_setstr(&lister->mark, token->data);
	return 0;
}

static void on_page(struct s3_op *op)
{
	struct s3_lister *lister = op->ctx;
	struct page page CLEANUP(page_release) = { .token = BUF_INIT };
	if (op->ret_outcome == S3_FAILED) {
		err_move(&lister->ret_err, &op->ret_err);
		finish(lister, -1);
		return;
	}
	if (op->ret_outcome != S3_OK) {
		err_set(&lister->ret_err, ERR_NET, "the server cannot list the bucket (status %u)", op->request.ret_status);
		err_hint(&lister->ret_err, "check the remote's url and endpointurl");
		finish(lister, -1);
		return;
	}
	lister->ret_pages++;
	if (read_page(lister, &page, &lister->ret_err) < 0 || (page.truncated && check_token(lister, &page.token, &lister->ret_err) < 0)) {
		finish(lister, -1);
		return;
	}
	lister->ret_more = page.truncated && lister->ret_pages == lister->max_pages;
	if (page.truncated && !lister->ret_more)
		ask_page(lister, page.token.data);
	else
		finish(lister, 0);
}

static void ask_page(struct s3_lister *lister, const char *token)
{
	struct s3_op *op = &lister->op;
	strlist_release(&op->query);
	add_parameter(&op->query, "list-type", "2");
	add_parameter(&op->query, "encoding-type", "url");
	add_parameter(&op->query, "prefix", lister->prefix);
	if (token)
		add_parameter(&op->query, "continuation-token", token);
	op->method = "GET";
	op->response_max = MAX_PAGE;
	op->done = on_page;
	op->ctx = lister;
	s3_start(lister->s3, op);
}

void s3_lister_start(struct s3_lister *lister, struct s3 *s3, const char *prefix, unsigned max_pages, s3_list_fn *visit,
		     s3_listed_fn *done, void *ctx)
{
	char *root OWNED = s3_key(s3, "");
	*lister = (struct s3_lister){ .s3 = s3, .max_pages = max_pages, .visit = visit, .done = done, .ctx = ctx, .op = S3_OP_INIT,
				      .last = BUF_INIT, .etag = BUF_INIT, .mark = BUF_INIT };
	lister->prefix = s3_key(s3, prefix);
	lister->skip = strlen(root);
	ask_page(lister, NULL);
}

void s3_lister_release(struct s3_lister *lister)
{
	if (lister->s3)
		s3_op_release(&lister->op);
	free(lister->prefix);
	buf_release(&lister->last);
	buf_release(&lister->etag);
	buf_release(&lister->mark);
	err_release(&lister->ret_err);
	*lister = (struct s3_lister){ .s3 = NULL };
}
