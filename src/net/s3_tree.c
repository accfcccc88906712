#include "net/s3_tree.h"

#include "base/mem.h"
#include "base/text.h"
#include "net/s3_list.h"

#include <string.h>

struct reading {
	struct s3_tree *ret;
	struct s3_lister lister;
	bool done;
};

static char *without_quotes(const char *etag)
{
	size_t len = strlen(etag);
	bool quoted = len >= 2 && etag[0] == '"' && etag[len - 1] == '"';
	return quoted ? mem_strndup(etag + 1, len - 2) : mem_strdup(etag);
}

static int take(void *ctx, const char *name, uint64_t size, int64_t modified_s UNUSED, struct err *err UNUSED)
{
	struct reading *reading = ctx;
	vec_push(&reading->ret->list, ((struct s3_entry){ mem_strdup(name), without_quotes(reading->lister.etag.data), size }));
	return 0;
}

static void note_end(void *ctx, struct s3_lister *lister UNUSED)
{
	struct reading *reading = ctx;
	reading->done = true;
}

static int list(struct s3 *s3, struct loop *loop, struct s3_tree *ret, struct err *err)
{
	struct reading reading = { .ret = ret };
	int status = 0;
	s3_lister_start(&reading.lister, s3, "", 0, take, note_end, &reading);
	while (status == 0 && !reading.done)
		status = loop_step(loop, -1, err);
	if (status == 0 && reading.lister.ret_status < 0)
		status = err_move(err, &reading.lister.ret_err);
	s3_lister_release(&reading.lister);
	return status;
}

/* The object of that very name; none where the address ends in '/' or is a bucket. */
static int head(struct s3 *s3, const char *key, struct s3_tree *ret, struct err *err)
{
	struct s3_op op = S3_OP_INIT;
	struct buf value CLEANUP(buf_release) = BUF_INIT;
	uint64_t size = 0;
	op.method = "HEAD";
	op.key = key;
	int status = s3_run(s3, &op, err);
	if (status == 0 && op.ret_outcome == S3_OK) {
		const char *length = http_header(&op.request, "content-length", &value);
		if (length && !text_parse_u64(length, &size))
			status = err_set(err, ERR_NET, "the server gave '%.40s' for a size", length);
		const char *etag = http_header(&op.request, "etag", &value);
		ret->is_file = true;
		vec_push(&ret->list, ((struct s3_entry){ mem_strdup(""), without_quotes(etag ? etag : ""), size }));
	}
	s3_op_release(&op);
	return status;
}

int s3_tree_read(const struct remote_spec *spec, struct s3_tree *ret, struct err *err)
{
	struct loop *loop;
	struct s3 *s3 = NULL;
	*ret = (struct s3_tree){ .is_file = false };
	if (loop_new(&loop, err) < 0)
		return -1;
	int status = s3_open(spec, loop, &s3, err);
	if (status == 0)
		status = s3_ready(s3, err);
	const char *key = strchr(spec->url + strlen("s3://"), '/');
	if (status == 0 && key && key[1] && !text_ends(key, "/"))
		status = head(s3, key + 1, ret, err);
	if (status == 0 && !ret->is_file)
		status = list(s3, loop, ret, err);
	s3_free(s3);
	loop_free(loop);
	return status;
}

void s3_tree_release(struct s3_tree *tree)
{
	for (size_t i = 0; i < tree->list.len; i++) {
		free(tree->list.at[i].name);
		free(tree->list.at[i].etag);
	}
	vec_release(&tree->list);
}
