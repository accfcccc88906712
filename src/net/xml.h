/*
 * Reading the flat XML that S3 answers with: a forward scanner, tolerant of what it does not know, that never
 * reads beyond its text and builds nothing.
 *
 *     struct xml_scan scan = { .at = body, .end = body + len };
 *     while (xml_next(&scan))
 *             if (scan.kind == XML_OPEN && xml_is(&scan, "Key")) xml_text(&scan, &key);
 *
 * Prefixes of names ("ns:Key") are dropped; comments, declarations and attributes are skipped.
 */
#ifndef NET_XML_H
#define NET_XML_H

#include "base/buf.h"

enum xml_kind { XML_OPEN, XML_CLOSE };

struct xml_scan {
	const char *at, *end;
	enum xml_kind kind;
	const char *name;
	size_t name_len;
	bool empty; /* <Key/>: opened and closed at once */
};

/* Goes to the next tag; false at the end. */
bool xml_next(struct xml_scan *scan);
bool xml_is(const struct xml_scan *scan, const char *name);

/* After XML_OPEN: sets out to the text up to the next tag, entities decoded; at most 64 KiB of it. */
void xml_text(struct xml_scan *scan, struct buf *out);

/* The text of the first element of this name anywhere in a document; false if there is none. */
bool xml_find(const char *text, size_t len, const char *name, struct buf *out);

#endif
