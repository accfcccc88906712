/*
 * Whether a database file can be followed: LMDB maps it and believes the numbers in it, so a damaged one ends the process. Read here as
 * LMDB 0.9 lays it out (lmdb.h: "MDB_DATA_VERSION 1"; the structures are those of its mdb.c), with read(2) and every number doubted.
 *
 *     state_head_is_whole(path)        before LMDB opens it
 *     ... mdb_env_open, a read transaction, which keeps its pages from being used again ...
 *     if (!state_is_noted(path, fd)) state_check_pages(fd, transaction), and then state_note(path, &stamp)
 *
 * What is checked is all that LMDB relies on: where pages, nodes and free lists are, their sizes, kinds and order. Whether the records in
 * it are what was written is for their checksums (store/state.c). Every page but those that hold one large record is read, in the order of
 * the trees; a note of the file's stamp, left by whoever wrote to it last, or read it all, spares the next one from that.
 *
 * path: of the directory that holds data.mdb.
 */
#ifndef STORE_STATE_CHECK_H
#define STORE_STATE_CHECK_H

#include "base/fs.h"

/* The first two pages, as far as LMDB reads them on opening. A file that is missing, empty or may not be read is fine: LMDB has its own
 * say on that. *ret_ino: 0 if there is none. */
bool state_head_is_whole(const char *path, uint64_t *ret_ino);

enum state_shape {
	STATE_WHOLE,
	STATE_DAMAGED,
	STATE_MOVED_ON /* that transaction is no longer one of the last two: begin another */
};
enum state_shape state_check_pages(int fd, uint64_t transaction);

/* Whether the file is as it was when it was noted, in this boot. *ret: what a note would say of it now. */
bool state_is_noted(const char *path, int fd, struct fs_stamp *ret);
/* Failing at that costs the next one a check. */
void state_note(const char *path, const struct fs_stamp *stamp);

#endif
