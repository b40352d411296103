/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection is a small state machine. advance() makes steps until one has to wait: for the
 * client, the handler or the stream. Only advance(), the timer and server_free() end a connection,
 * and the handler's calls leave everything to them, so that nothing is freed under a caller.
 *
 *   READING --request--> ANSWERING --answer--> WRITING --> READING, the end, LINGERING, STREAMING
 *                                                 ^            | or the socket is given away
 *                                                 `--- STREAMING, when there is something
 */
#include "control/server.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "control/listener.h"
#include "control/refusal.h"

enum {
	READ_SIZE = 4 << 10,
	PULL_SIZE = 2 << 10,
	/* A client that has much to say gives way to the others. */
	STEPS_PER_TURN = 32,
	/* Clients that are being told why not, beside those that are served; more are just closed.
	 */
	MAX_TURNED_AWAY = 8,
	/* A client that is refused while it sends may send so much more, so that it sees why. */
	LINGER_BYTES = 1 << 20,
};

enum conn_state {
	CONN_READING,	/* waits for a request, or the rest of it */
	CONN_ANSWERING, /* the handler has it */
	CONN_WRITING,	/* out is on its way; `then` says what comes after */
	CONN_STREAMING, /* out is empty and the stream is asked for more */
	CONN_LINGERING, /* everything is said; what the client still sends is read and dropped */
};

enum conn_then { THEN_READ, THEN_CLOSE, THEN_LINGER, THEN_STREAM, THEN_GIVE_AWAY };

/* What advance() does next. */
enum step { STEP_ON, STEP_WAIT, STEP_CLOSE };

struct server {
	struct loop *loop;
	struct listener listener;
	struct server_limits limits;
	struct server_handler *handler;
	struct server_conn *conns;
	unsigned n_served, n_turned_away;
};

struct server_conn {
	struct server *server;
	struct server_conn *next;
	unsigned *counter; /* the server's, of its kind */

	struct loop_fd fd;
	struct loop_timer timer;
	struct loop_work work;
	uint32_t events; /* that fd is watched for */
	enum conn_state state;
	enum conn_then then;
	bool advancing;
	bool hurrying; /* the timer is the request's */

	struct http_parser_state *http;
	char in[READ_SIZE];
	size_t in_at, in_n;
	size_t lingered; /* bytes */
	struct str out;
	size_t out_at;
	struct server_stream *stream;
	struct server_handoff *handoff;
};

static const struct server_limits default_limits = {
	.max_conns = SERVER_MAX_CONNS,
	.request_ms = SERVER_REQUEST_MS,
	.idle_ms = SERVER_IDLE_MS,
	.write_ms = SERVER_WRITE_MS,
};

static void arm(struct server_conn *conn, unsigned ms)
{
	loop_timer_arm(conn->server->loop, &conn->timer, ms * NS_PER_MS);
}

static void disarm(struct server_conn *conn)
{
	loop_timer_cancel(conn->server->loop, &conn->timer);
}

static enum step wait_for(struct server_conn *conn, uint32_t events)
{
	if (conn->events == events)
		return STEP_WAIT;
	conn->events = events;
	return loop_mod_fd(conn->server->loop, &conn->fd, events) < 0 ? STEP_CLOSE : STEP_WAIT;
}

/* ---- the end of a connection ---- */

static void unlink_conn(struct server_conn *conn)
{
	struct server_conn **at = &conn->server->conns;

	while (*at != conn)
		at = &(*at)->next;
	*at = conn->next;
	(*conn->counter)--;
}

/* Exactly one of them waits for an end that did not come. */
static void tell_gone(struct server_conn *conn)
{
	struct server_handler *handler = conn->server->handler;
	struct server_handoff *handoff = TAKE_PTR(conn->handoff);
	struct server_stream *stream = TAKE_PTR(conn->stream);

	if (handoff) {
		handoff->gone(handoff);
	} else if (stream) {
		stream->conn = NULL;
		stream->gone(stream);
	} else if (conn->state == CONN_ANSWERING) {
		vmm_assert(handler->gone);
		handler->gone(handler, conn);
	}
}

static void conn_free(struct server_conn *conn)
{
	struct loop *loop = conn->server->loop;

	unlink_conn(conn);
	loop_del_fd(loop, &conn->fd);
	loop_timer_cancel(loop, &conn->timer);
	loop_work_cancel(loop, &conn->work);
	tell_gone(conn);
	fd_close(conn->fd.fd);
	http_free(conn->http);
	str_done(&conn->out);
	free(conn);
}

/* ---- writing ---- */

static void start_writing(struct server_conn *conn, enum conn_then then)
{
	conn->state = CONN_WRITING;
	conn->then = then;
	disarm(conn);
}

static void refuse(struct server_conn *conn, int status, const char *why)
{
	_cleanup_free_ char *body = refusal_json(refusal_code(status), why, NULL, NULL);

	if (body) {
		http_head(&conn->out, status, "application/json", (long)strlen(body), false, NULL);
		str_add(&conn->out, body);
	}
	start_writing(conn, THEN_LINGER);
}

static enum step start_reading(struct server_conn *conn)
{
	http_next(conn->http);
	conn->state = CONN_READING;
	conn->hurrying = false;
	arm(conn, conn->server->limits.idle_ms);
	return STEP_ON;
}

/* To close at once would be a reset to a client that is still sending, before it reads why. */
static enum step start_lingering(struct server_conn *conn)
{
	(void)shutdown(conn->fd.fd, SHUT_WR);
	conn->state = CONN_LINGERING;
	arm(conn, conn->server->limits.write_ms);
	return STEP_ON;
}

static enum step give_away(struct server_conn *conn)
{
	struct server_handoff *handoff = TAKE_PTR(conn->handoff);

	loop_del_fd(conn->server->loop, &conn->fd);
	handoff->take(handoff, TAKE_FD(conn->fd.fd), conn->in + conn->in_at,
		      conn->in_n - conn->in_at);
	return STEP_CLOSE;
}

/* out has been taken by the client. */
static enum step written(struct server_conn *conn)
{
	str_done(&conn->out);
	conn->out_at = 0;
	switch (conn->then) {
	case THEN_READ:
		return start_reading(conn);
	case THEN_LINGER:
		return start_lingering(conn);
	case THEN_STREAM:
		conn->state = CONN_STREAMING;
		return STEP_ON;
	case THEN_GIVE_AWAY:
		return give_away(conn);
	case THEN_CLOSE:
		break;
	}
	return STEP_CLOSE;
}

static enum step write_step(struct server_conn *conn)
{
	size_t left = conn->out.len - conn->out_at;
	ssize_t n;

	if (conn->out.failed)
		return STEP_CLOSE;
	if (left == 0)
		return written(conn);
	n = send(conn->fd.fd, conn->out.buf + conn->out_at, left, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n >= 0) {
		conn->out_at += (size_t)n;
		disarm(conn);
		return STEP_ON;
	}
	if (errno == EINTR)
		return STEP_ON;
	if (errno != EAGAIN)
		return STEP_CLOSE;
	if (conn->timer.deadline_ns == 0)
		arm(conn, conn->server->limits.write_ms);
	return wait_for(conn, EPOLLOUT);
}

static enum step stream_step(struct server_conn *conn)
{
	char buf[PULL_SIZE];
	size_t n = conn->stream->pull(conn->stream, buf, sizeof(buf));

	if (n == SERVER_STREAM_END)
		return STEP_CLOSE;
	if (n == 0)
		return wait_for(conn, 0);
	vmm_assert(n <= sizeof(buf));
	str_addn(&conn->out, buf, n);
	start_writing(conn, THEN_STREAM);
	return STEP_ON;
}

/* ---- reading ---- */

/* STEP_ON: there are new bytes in `in`. */
static enum step receive(struct server_conn *conn)
{
	ssize_t n = recv(conn->fd.fd, conn->in, sizeof(conn->in), MSG_DONTWAIT);

	if (n > 0) {
		conn->in_at = 0;
		conn->in_n = (size_t)n;
		return STEP_ON;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return wait_for(conn, EPOLLIN);
	return STEP_CLOSE;
}

/* The client has nothing else of us in its socket, so the few bytes fit, or it is up to no good. */
static enum step tell_continue(struct server_conn *conn)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	ssize_t n = send(conn->fd.fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n == sizeof(text) - 1 ? STEP_ON : STEP_CLOSE;
}

static void hand_over(struct server_conn *conn)
{
	struct server_handler *handler = conn->server->handler;

	disarm(conn);
	conn->state = CONN_ANSWERING;
	handler->request(handler, conn, http_request(conn->http));
}

static void hurry(struct server_conn *conn)
{
	if (conn->hurrying || !http_is_midway(conn->http))
		return;
	conn->hurrying = true;
	arm(conn, conn->server->limits.request_ms);
}

static enum step feed(struct server_conn *conn)
{
	size_t taken;
	enum http_progress progress =
		http_feed(conn->http, conn->in + conn->in_at, conn->in_n - conn->in_at, &taken);
	const char *why;
	int status;

	conn->in_at += taken;
	switch (progress) {
	case HTTP_MORE:
		hurry(conn);
		break;
	case HTTP_CONTINUE:
		hurry(conn);
		return tell_continue(conn);
	case HTTP_COMPLETE:
		hand_over(conn);
		break;
	case HTTP_BAD:
		status = http_status(conn->http, &why);
		refuse(conn, status, why);
		break;
	}
	return STEP_ON;
}

static enum step read_step(struct server_conn *conn)
{
	enum step step = conn->in_at < conn->in_n ? STEP_ON : receive(conn);

	return step == STEP_ON ? feed(conn) : step;
}

static enum step linger_step(struct server_conn *conn)
{
	enum step step = receive(conn);

	if (step == STEP_ON)
		conn->lingered += conn->in_n;
	return conn->lingered > LINGER_BYTES ? STEP_CLOSE : step;
}

/* A hang-up is told without asking for any event. */
static enum step answer_step(struct server_conn *conn)
{
	return wait_for(conn, 0);
}

/* ---- what moves a connection ---- */

static enum step (*const steps[])(struct server_conn *conn) = {
	[CONN_READING] = read_step,	[CONN_ANSWERING] = answer_step, [CONN_WRITING] = write_step,
	[CONN_STREAMING] = stream_step, [CONN_LINGERING] = linger_step,
};

/* The connection may be gone afterwards. */
static void advance(struct server_conn *conn)
{
	enum step step = STEP_ON;

	conn->advancing = true;
	for (unsigned i = 0; i < STEPS_PER_TURN && step == STEP_ON; i++)
		step = steps[conn->state](conn);
	conn->advancing = false;
	if (step == STEP_CLOSE)
		conn_free(conn);
	else if (step == STEP_ON)
		loop_post(conn->server->loop, &conn->work);
}

static void on_work(struct loop_work *work)
{
	advance(container_of(work, struct server_conn, work));
}

/* Where we read, a hang-up is found behind the last byte. */
static bool reads(const struct server_conn *conn)
{
	return conn->state == CONN_READING || conn->state == CONN_LINGERING;
}

static void on_ready(struct loop_fd *source, uint32_t events)
{
	struct server_conn *conn = container_of(source, struct server_conn, fd);

	if ((events & (EPOLLHUP | EPOLLERR)) && !reads(conn))
		conn_free(conn);
	else
		advance(conn);
}

static void on_timer(struct loop_timer *timer)
{
	struct server_conn *conn = container_of(timer, struct server_conn, timer);

	if (conn->state != CONN_READING || !conn->hurrying) {
		conn_free(conn);
		return;
	}
	refuse(conn, 408, "the rest of the request did not come in time");
	advance(conn);
}

/* ---- new connections ---- */

static struct server_conn *conn_new(struct server *server, int fd, unsigned *counter)
{
	struct server_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->server = server;
	conn->counter = counter;
	conn->fd = (struct loop_fd){.fd = fd, .ready = on_ready};
	conn->timer.fired = on_timer;
	conn->work.run = on_work;
	conn->events = EPOLLIN;
	if (http_new(&conn->http) < 0 || loop_add_fd(server->loop, &conn->fd, EPOLLIN) < 0) {
		http_free(conn->http);
		free(conn);
		return NULL;
	}
	(*counter)++;
	conn->next = server->conns;
	server->conns = conn;
	return conn;
}

static void serve(struct server *server, int fd)
{
	struct server_conn *conn = conn_new(server, fd, &server->n_served);

	if (conn)
		arm(conn, server->limits.idle_ms);
	else
		fd_close(fd);
}

static void turn_away(struct server *server, int fd, int status, const char *why)
{
	struct server_conn *conn = NULL;

	if (server->n_turned_away < MAX_TURNED_AWAY)
		conn = conn_new(server, fd, &server->n_turned_away);
	if (!conn) {
		fd_close(fd);
		return;
	}
	refuse(conn, status, why);
	advance(conn);
}

static void on_accepted(struct listener *listener, int fd, bool allowed)
{
	struct server *server = container_of(listener, struct server, listener);

	if (!allowed)
		turn_away(server, fd, 403, "this VM belongs to another user");
	else if (server->n_served >= server->limits.max_conns)
		turn_away(server, fd, 503, "too many clients are connected");
	else
		serve(server, fd);
}

/* ---- the handler's answers ---- */

static bool wants_body(const struct server_conn *conn)
{
	return http_request(conn->http)->method != HTTP_METHOD_HEAD;
}

static void answer(struct server_conn *conn, enum conn_then then)
{
	start_writing(conn, then);
	if (!conn->advancing)
		loop_post(conn->server->loop, &conn->work);
}

void server_reply(struct server_conn *conn, int status, const char *content_type, const char *body,
		  size_t len, const char *extra)
{
	bool keep_alive = http_request(conn->http)->keep_alive;

	vmm_assert(conn->state == CONN_ANSWERING);
	http_head(&conn->out, status, content_type, (long)len, keep_alive, extra);
	if (wants_body(conn))
		str_addn(&conn->out, body, len);
	answer(conn, keep_alive ? THEN_READ : THEN_CLOSE);
}

void server_stream_start(struct server_conn *conn, const char *content_type,
			 struct server_stream *stream)
{
	vmm_assert(conn->state == CONN_ANSWERING);
	http_head(&conn->out, 200, content_type, -1, false, NULL);
	stream->conn = conn;
	conn->stream = stream;
	answer(conn, wants_body(conn) ? THEN_STREAM : THEN_CLOSE);
}

void server_stream_wake(struct server_stream *stream)
{
	if (stream->conn)
		loop_post(stream->conn->server->loop, &stream->conn->work);
}

void server_hand_off(struct server_conn *conn, bool upgrade, const char *content_type,
		     struct server_handoff *handoff)
{
	vmm_assert(conn->state == CONN_ANSWERING);
	if (upgrade)
		http_head(&conn->out, 101, NULL, -1, true, "Upgrade: vmm-stream\r\n");
	else
		http_head(&conn->out, 200, content_type, -1, false, NULL);
	conn->handoff = handoff;
	answer(conn, upgrade || wants_body(conn) ? THEN_GIVE_AWAY : THEN_CLOSE);
}

/* ---- life ---- */

int server_new(struct loop *loop, int listen_fd, uid_t allowed_uid,
	       const struct server_limits *limits, struct server_handler *handler,
	       struct server **ret)
{
	struct server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->limits = limits ? *limits : default_limits;
	server->handler = handler;
	server->listener = (struct listener){
		.accepted = on_accepted, .allowed_uid = allowed_uid, .what = "control socket"};
	r = listener_start(&server->listener, loop, listen_fd);
	if (r < 0) {
		free(server);
		return r;
	}
	*ret = server;
	return 0;
}

/* Some steps of one that has something to say; true when there is more. */
static bool flush(struct server_conn *conn)
{
	enum step step = STEP_ON;

	for (unsigned i = 0; i < STEPS_PER_TURN && step == STEP_ON; i++) {
		if (conn->state != CONN_WRITING && conn->state != CONN_STREAMING)
			return false;
		step = steps[conn->state](conn);
	}
	if (step == STEP_CLOSE)
		conn_free(conn);
	return step == STEP_ON || (step == STEP_WAIT && conn->state == CONN_WRITING);
}

static void flush_all(struct server *server, uint64_t deadline_ns)
{
	bool more = true;

	while (more) {
		more = false;
		for (struct server_conn *conn = server->conns, *next; conn; conn = next) {
			struct pollfd p = {.fd = conn->fd.fd, .events = POLLOUT};

			next = conn->next;
			if (!flush(conn) || clock_now_ns() >= deadline_ns)
				continue;
			/* A moment for a slow reader, so that all of them get their turns. */
			(void)poll(&p, 1, 1);
			more = true;
		}
	}
}

struct server *server_free(struct server *server, unsigned timeout_ms)
{
	if (!server)
		return NULL;
	listener_stop(&server->listener);
	flush_all(server, clock_now_ns() + timeout_ms * NS_PER_MS);
	while (server->conns)
		conn_free(server->conns);
	free(server);
	return NULL;
}

unsigned server_connections(const struct server *server)
{
	return server->n_served;
}
