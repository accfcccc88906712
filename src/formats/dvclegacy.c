/* The hash of dvc 2: md5 of the content with CRLF as LF where it looks like text, decided for each chunk of 1 MiB
 * (dvc_objects.hashfile.hash: Dos2UnixHashStreamFile; dvc_objects.istextfile). */
#include "formats/digest_input.h"
#include "formats/dvcfile.h"

#include <string.h>

#define CHUNK ((size_t)1 << 20)
#define TEXT_LOOKED_AT 512u

static bool is_text(const uint8_t *bytes, size_t len)
{
	size_t odd = 0;
	if (len > TEXT_LOOKED_AT)
		len = TEXT_LOOKED_AT;
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '\0')
			return false;
		odd += !((bytes[i] >= 32 && bytes[i] <= 126) || strchr("\n\r\t\f\b", bytes[i]));
	}
	return len == 0 || (double)odd / (double)len <= 0.30;
}

static size_t without_cr(uint8_t *bytes, size_t len)
{
	size_t to = 0;
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '\r' && i + 1 < len && bytes[i + 1] == '\n')
			continue;
		bytes[to++] = bytes[i];
	}
	return to;
}

int dvc_legacy_md5_file(const char *path, struct digest *ret, bool *ret_stable, struct err *err)
{
	struct digest_input input CLEANUP(digest_input_close) = DIGEST_INPUT_INIT;
	struct fs_stamp stamp;
	*ret_stable = false;
	if (digest_input_open(&input, path, err) < 0)
		return -1;
	uint8_t *bytes OWNED = mem_alloc(CHUNK);
	struct digest_stream *stream = digest_begin(DIGEST_MD5);
	size_t got;
	do {
		if (digest_input_read(&input, bytes, CHUNK, &got, err) < 0) {
			digest_drop(stream);
			return -1;
		}
		digest_add(stream, bytes, is_text(bytes, got) ? without_cr(bytes, got) : got);
	} while (got == CHUNK);
	digest_end(stream, ret);
	digest_input_finish(&input, &stamp, ret_stable);
	return 0;
}
