/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Character streams: where a guest's serial port goes and where its input comes from.
 *
 *   stdio        standard input and output; a terminal is put into raw mode, with the escape Ctrl-A
 *   file=PATH    output to a file that is created or cut, no input
 *   pty          a new pseudo-terminal, its name is told by chr_describe()
 *   unix=PATH    a listening unix socket, one client at a time; a stale socket file is replaced,
 *                a live one is not
 *   none         output is dropped
 *
 * Life: chr_open() opens everything by path, before the process is locked down; chr_start()
 * attaches it to the main loop; chr_free() drains what it can without waiting, restores the
 * terminal, and comes before loop_free(). The process ignores SIGPIPE.
 *
 * chr_write() is for any thread and never blocks: bytes go into a ring, the loop's thread writes
 * them out, and what finds the ring full is dropped and counted. A reader that stops stalls
 * nothing. While a unix socket has no client, the ring keeps the newest output for the next one,
 * and what makes way for it is counted as dropped.
 */
#ifndef VMM_BACKEND_CHR_H
#define VMM_BACKEND_CHR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"

struct chr;
struct loop;

enum chr_kind { CHR_NONE, CHR_STDIO, CHR_FILE, CHR_PTY, CHR_UNIX };

struct chr_spec {
	enum chr_kind kind;
	const char *path; /* of file= and unix=, points into the parsed text */
};

/* 0, or -EINVAL with a message that lists the kinds. A path longer than a unix socket allows is
 * refused. */
int chr_spec_parse(const char *text, struct chr_spec *ret, struct err *err) must_check;

/*
 * The receiving side, a device. bytes() returns how many it took; fewer than n stops reading until
 * chr_rx_resume(). eof() comes once, after the last byte was taken. Both on the loop's thread.
 */
struct chr_rx {
	size_t (*bytes)(struct chr_rx *rx, const uint8_t *buf, size_t n);
	void (*eof)(struct chr_rx *rx);
};

/* Keys after the escape, on the loop's thread: 'x' and 'h' and whatever else the user typed. */
struct chr_keys {
	void (*pressed)(struct chr_keys *keys, char key);
};

struct chr_stats {
	uint64_t written, dropped, received; /* bytes */
};

/* `what` names the option in messages ("--console"). 0 or -errno with a message. */
int chr_open(const struct chr_spec *spec, const char *what, struct chr **ret,
	     struct err *err) must_check;
int chr_start(struct chr *chr, struct loop *loop, struct err *err) must_check;
struct chr *chr_free(struct chr *chr);

void chr_set_rx(struct chr *chr, struct chr_rx *rx);
void chr_set_keys(struct chr *chr, struct chr_keys *keys);

/* Any thread; never blocks. Returns the bytes that were taken. */
size_t chr_write(struct chr *chr, const void *buf, size_t n);
/* Any thread: the device has room again. */
void chr_rx_resume(struct chr *chr);
/*
 * Loop's thread, at the end: writes out what the ring holds, and those of the clients, waiting at
 * most timeout_ms for slow readers in all. What is not out by then is dropped and counted, so that
 * every byte is one or the other.
 */
void chr_flush(struct chr *chr, unsigned timeout_ms);

/*
 * Input as if it had been typed, beside whatever else comes in. All or nothing: it waits in a
 * buffer until the receiver takes it; -ENOBUFS when earlier bytes leave no room for n. Loop's
 * thread, after chr_start().
 */
enum { CHR_TYPE_MAX = 4096 };
int chr_type(struct chr *chr, const void *buf, size_t n) must_check;

/*
 * Other readers of the same output, each with a ring of its own: what one of them does not read is
 * dropped and counted for it alone. It sees everything that is written from the attachment on; with
 * `input`, what it sends goes to the receiver beside the stream's own input (its end is not the
 * input's end). What it sent before it went is still for the receiver, as many bytes as a buffer
 * holds. Loop's thread, after chr_start().
 */
struct chr_client;
struct chr_client_watcher {
	/* The peer hung up; the client must be detached, here or later. Told once, from the loop
	 * and never from within a function of this file. A peer that only ends its input has not
	 * hung up. */
	void (*hung_up)(struct chr_client_watcher *watcher);
};
enum { CHR_MAX_CLIENTS = 8 };
/* Takes fd over, also when it fails: a socket, terminal, pipe or file. O_NONBLOCK is set on a
 * terminal and a pipe (and so on every copy of the descriptor), since their write(2) would wait for
 * a reader that has stopped. -EBUSY when CHR_MAX_CLIENTS are there. */
int chr_attach(struct chr *chr, int fd, bool input, struct chr_client_watcher *watcher,
	       struct chr_client **ret) must_check;
/* Writes out what it can without waiting and closes fd. NULL-safe; returns NULL. chr_free() does it
 * to those that are left. */
struct chr_client *chr_detach(struct chr_client *client);
struct chr_stats chr_client_stats(const struct chr_client *client);
unsigned chr_n_clients(const struct chr *chr);

/* For output into a file that must not grow for ever: reached() is called on the loop's thread when
 * `bytes` more have been written, again and again. Before chr_start(); NULL: no limit. */
struct chr_limit {
	uint64_t bytes;
	void (*reached)(struct chr_limit *limit);
};
void chr_set_limit(struct chr *chr, struct chr_limit *limit);

/*
 * The sending side of a device that loses nothing, unlike chr_write() alone: it asks for room first
 * and waits for it. Without a client a unix= stream has none. All on the loop's thread.
 */
struct chr_tx {
	/* chr_has_room() was false, and may be true now. */
	void (*room)(struct chr_tx *tx);
	/* A client of a unix= stream has come or gone. */
	void (*peer)(struct chr_tx *tx, bool there);
};
enum { CHR_ROOM_MAX = 128 << 10 };
void chr_set_tx(struct chr *chr, struct chr_tx *tx); /* NULL: none */
/* chr_write() of n bytes, at most CHR_ROOM_MAX, would take them all. */
bool chr_has_room(struct chr *chr, size_t n);
/* What was written goes out at once, not at the next newline. */
void chr_push(struct chr *chr);
/* Somebody is there to read. Always so but for a unix= stream. */
bool chr_has_peer(const struct chr *chr);

/* A line for people, such as "pty /dev/pts/3"; valid until chr_free(). */
const char *chr_describe(const struct chr *chr);
struct chr_stats chr_stats(const struct chr *chr);
/* True for the one stream that has standard input and output. */
bool chr_is_stdio(const struct chr *chr);
/* True when stdio is a terminal that is now raw, so that Ctrl-C goes to the guest. */
bool chr_is_raw(const struct chr *chr);

/*
 * Puts the terminal back if some chr made it raw: async-signal-safe, for crash handlers; chr_free()
 * does it too.
 */
void chr_restore_terminal(void);

#endif
