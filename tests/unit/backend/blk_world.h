/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk images in real files, and requests to them on a real loop of the engine under test
 * (tests/unit/event/engine.h).
 */
#ifndef VMM_TESTS_BLK_WORLD_H
#define VMM_TESTS_BLK_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/blk.h"

extern struct loop *blk_loop;
extern char blk_dir[64]; /* empty at first, removed with what is in it */

void blk_world_init(void);
void blk_world_done(void);

/* A file in the directory with byte i being i / 512 (pattern), or a sparse one of zeroes. Its path:
 * static memory of four. */
const char *blk_make_file(const char *name, uint64_t size, bool pattern);
uint8_t blk_pattern(uint64_t offset);
/* Without cache. */
uint8_t blk_byte_of(const char *path, uint64_t offset);
uint64_t blk_allocated(const char *path); /* bytes that the file takes */

/* The disk and one queue on blk_loop, before the first request. */
struct blk *blk_world_open(const struct blk_opts *opts, struct blk_queue **ret_queue);
/* Like that, but it can't be: the message. Static memory. */
const char *blk_world_refused(const struct blk_opts *opts, int code);

/* One request from beginning to end: its result. */
int blk_do(struct blk_queue *q, struct blk_req *req);
int blk_do_read(struct blk_queue *q, uint64_t offset, void *to, size_t len);
int blk_do_write(struct blk_queue *q, uint64_t offset, const void *from, size_t len);
/* A sector that begins with the text. */
int blk_write_text(struct blk_queue *q, uint64_t offset, const char *text);
int blk_do_range(struct blk_queue *q, enum blk_op op, bool unmap, uint64_t offset, uint64_t len);

/* Runs the loop until n requests that were begun with this have ended. True: held back. */
bool blk_begin(struct blk_queue *q, struct blk_req *req);
void blk_await(unsigned n);
int blk_result(const struct blk_req *req);

#endif
