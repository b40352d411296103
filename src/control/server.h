/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket's server: connections on the main loop, each with its parser, its time limits
 * and the response that waits to be written. A slow or hostile client costs its own connection:
 * nothing here blocks, and what a connection may hold is bounded.
 *
 * Requests of one connection are answered in their order, the next one is read when the answer is
 * out. A client that only stops sending (SHUT_WR) gets its answers; one that hangs up while its
 * answer is made or written is dropped. What is no valid request is answered with 4xx or 5xx, and
 * the connection ends. Only our own user and root may connect (SO_PEERCRED): others get 403.
 *
 * Main thread.
 */
#ifndef VMM_CONTROL_SERVER_H
#define VMM_CONTROL_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "control/http.h"
#include "event/loop.h"

enum {
	SERVER_MAX_CONNS = 32,
	SERVER_REQUEST_MS = 10 * 1000,
	SERVER_IDLE_MS = 60 * 1000,
	SERVER_WRITE_MS = 10 * 1000,
};

struct server_limits {
	unsigned max_conns;  /* at a time; one more gets 503 and is closed */
	unsigned request_ms; /* from a request's first byte to its last; then 408 */
	unsigned idle_ms;    /* between requests; then the connection is closed */
	unsigned write_ms;   /* for an answer without progress; then the connection is closed */
};

struct server;
struct server_conn; /* one connection, for the handler's answer */

/*
 * request() is called with each complete request. It answers, before it returns or later, by
 * exactly one of the calls below; the request is valid until then, and so is conn. A connection
 * that dies first calls gone(), and the answer must not be given any more; gone() may be NULL where
 * every answer is given before request() returns.
 */
struct server_handler {
	void (*request)(struct server_handler *handler, struct server_conn *conn,
			const struct http_request *request);
	void (*gone)(struct server_handler *handler, struct server_conn *conn);
};

/* listen_fd is borrowed, non-blocking. allowed_uid: the user who may connect, besides root. limits
 * is copied; NULL: those above. */
int server_new(struct loop *loop, int listen_fd, uid_t allowed_uid,
	       const struct server_limits *limits, struct server_handler *handler,
	       struct server **ret) must_check;
/* Writes what waits, streams pulled empty, at most timeout_ms in all, and closes every connection:
 * each gone() that is due is called. Not from one of the server's callbacks. */
struct server *server_free(struct server *server, unsigned timeout_ms);
/* Clients at present, those that are being turned away not counted. */
unsigned server_connections(const struct server *server);

/* None of the next three calls back before it returns. */

/* The whole answer; body and extra are copied. extra: header lines, each ended by \r\n, or NULL. */
void server_reply(struct server_conn *conn, int status, const char *content_type, const char *body,
		  size_t len, const char *extra);

/*
 * An answer without end: the head goes out now, then whatever pull() gives, again whenever the
 * client has taken it, until the connection closes. pull() writes at most n bytes into buf and
 * returns how many; 0: nothing for now, server_stream_wake() says when there is more;
 * SERVER_STREAM_END closes after what is out. gone(): the connection is closed, forget it. The
 * stream is owned by the caller and lives until gone().
 */
#define SERVER_STREAM_END ((size_t)-1)
struct server_stream {
	size_t (*pull)(struct server_stream *stream, char *buf, size_t n);
	void (*gone)(struct server_stream *stream);
	struct server_conn *conn; /* set by server_stream_start(), NULL from gone() on */
};
void server_stream_start(struct server_conn *conn, const char *content_type,
			 struct server_stream *stream);
void server_stream_wake(struct server_stream *stream);

/*
 * Gives the connection away: writes the head (status 101 with `Upgrade: vmm-stream`, or 200 with
 * content_type and no length), waits for it to be out, then calls take(fd) with the socket
 * (non-blocking, close-on-exec), which is the callee's from then on; the connection is forgotten.
 * early[n] is what the client sent behind its request before it had the answer; valid during the
 * call. take() is not called when the client goes before.
 */
struct server_handoff {
	void (*take)(struct server_handoff *handoff, int fd, const char *early, size_t n);
	void (*gone)(struct server_handoff *handoff); /* instead of take() */
};
void server_hand_off(struct server_conn *conn, bool upgrade, const char *content_type,
		     struct server_handoff *handoff);

#endif
