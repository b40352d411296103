/* SPDX-License-Identifier: Apache-2.0 */
#include "control_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "control/server.h"

#define HOST	  "Host: vm\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

enum { FOREVER_MS = 60 * 1000, SOON_MS = 20, BIG = 4 << 20 };

/* ---- a handler that answers by path ---- */

/* A stream that gives `text` as often as it is told, then waits or ends. */
static struct tap {
	struct server_stream stream;
	const char *text;
	unsigned left;
	bool ends;
	unsigned gone;
} tap;

static struct {
	struct server_handoff handoff;
	int fd;
	char early[64];
	size_t early_len;
	unsigned gone;
} taker;

static struct {
	struct server_handler handler;
	struct server_conn *waiting; /* for the answer to /later */
	unsigned requests, gone;
	char last_path[64], last_body[64];
} api;

static struct server *server;
static struct client a, b;
static char big[BIG];

static size_t pull(struct server_stream *stream, char *buf, size_t n)
{
	struct tap *t = container_of(stream, struct tap, stream);
	size_t len = strlen(t->text);

	cr_assert_leq(len, n);
	if (t->left == 0)
		return t->ends ? SERVER_STREAM_END : 0;
	t->left--;
	memcpy(buf, t->text, len);
	return len;
}

static void tap_gone(struct server_stream *stream)
{
	struct tap *t = container_of(stream, struct tap, stream);

	cr_assert_null(stream->conn);
	t->gone++;
}

static void take(struct server_handoff *handoff, int fd, const char *early, size_t n)
{
	(void)handoff;
	cr_assert_leq(n, sizeof(taker.early));
	taker.fd = fd;
	memcpy(taker.early, early, n);
	taker.early_len = n;
}

static void handoff_gone(struct server_handoff *handoff)
{
	(void)handoff;
	taker.gone++;
}

static void reply(struct server_conn *conn, const char *body)
{
	server_reply(conn, 200, "text/plain", body, strlen(body), NULL);
}

static void on_request(struct server_handler *handler, struct server_conn *conn,
		       const struct http_request *request)
{
	(void)handler;
	api.requests++;
	(void)snprintf(api.last_path, sizeof(api.last_path), "%.63s", request->path);
	(void)snprintf(api.last_body, sizeof(api.last_body), "%.63s", request->body);
	if (strcmp(request->path, "/later") == 0)
		api.waiting = conn;
	else if (strcmp(request->path, "/big") == 0)
		server_reply(conn, 200, "text/plain", big, sizeof(big), NULL);
	else if (strcmp(request->path, "/stream") == 0)
		server_stream_start(conn, "text/plain", &tap.stream);
	else if (strcmp(request->path, "/socket") == 0)
		server_hand_off(conn, request->upgrade, "text/plain", &taker.handoff);
	else
		reply(conn, request->path);
}

static void on_gone(struct server_handler *handler, struct server_conn *conn)
{
	(void)handler;
	cr_assert_eq(conn, api.waiting);
	api.waiting = NULL;
	api.gone++;
}

/* ---- set-up ---- */

static const struct server_limits patient = {
	.max_conns = 4, .request_ms = FOREVER_MS, .idle_ms = FOREVER_MS, .write_ms = FOREVER_MS};

static void start(const struct server_limits *limits)
{
	cr_assert_eq(
		server_new(world_loop, world_listener, getuid(), limits, &api.handler, &server), 0);
}

static void set_up(void)
{
	world_set_up();
	api.handler.request = on_request;
	api.handler.gone = on_gone;
	tap = (struct tap){.stream = {.pull = pull, .gone = tap_gone}, .text = "tick\n"};
	taker.handoff.take = take;
	taker.handoff.gone = handoff_gone;
	taker.fd = -1;
	memset(big, 'b', sizeof(big));
	a.source.fd = b.source.fd = -1;
}

static void tear_down(void)
{
	server = server_free(server, 0);
	if (a.source.fd >= 0)
		client_close(&a);
	if (b.source.fd >= 0)
		client_close(&b);
	world_tear_down();
}

TestSuite(server, .init = set_up, .fini = tear_down, .timeout = 60);

static bool is_at_least(void *arg)
{
	const unsigned *counter = arg;

	return *counter > 0;
}

/* For what happens at least once. */
static void wait_count(unsigned *counter)
{
	world_run_until(is_at_least, counter);
}

static bool has_connections(void *arg)
{
	const unsigned *wanted = arg;

	return server_connections(server) == *wanted;
}

static void wait_connections(unsigned n)
{
	world_run_until(has_connections, &n);
}

/* ---- requests and answers ---- */

Test(server, answers_and_keeps_the_connection)
{
	start(NULL);
	client_connect(&a);
	client_send(&a, GET("/one"));
	client_wait(&a, "\r\n\r\n/one");
	cr_assert_eq(client_count(&a, "HTTP/1.1 200 OK\r\n"), 1);
	cr_assert_eq(client_count(&a, "Content-Length: 4\r\n"), 1);
	client_send(&a, "POST /two HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi");
	client_wait(&a, "\r\n\r\n/two");
	cr_assert_str_eq(api.last_body, "hi");
	cr_assert_eq(server_connections(server), 1);
	cr_assert_not(a.ended);
}

Test(server, pipelined_requests_are_answered_in_order)
{
	enum { MANY = 200 };
	char text[64], answers[16 * MANY] = "";
	const char *at = a.buf;

	start(&patient);
	client_connect(&a);
	for (unsigned i = 0; i < MANY; i++) {
		(void)snprintf(text, sizeof(text), GET("/n%03u"), i);
		client_send(&a, text);
	}
	client_wait(&a, "/n199");
	for (unsigned i = 0; i < MANY; i++) {
		(void)snprintf(answers, sizeof(answers), "\r\n\r\n/n%03u", i);
		at = strstr(at, answers);
		cr_assert_not_null(at, "%u", i);
	}
	cr_assert_eq(client_count(&a, "200 OK"), MANY);
}

Test(server, next_request_waits_for_the_answer_to_the_one_before)
{
	start(&patient);
	client_connect(&a);
	client_send(&a, GET("/later") GET("/next"));
	wait_count(&api.requests);
	client_connect(&b);
	client_send(&b, GET("/other"));
	client_wait(&b, "/other");
	cr_assert_eq(a.n, 0, "the other connection does not wait");
	reply(api.waiting, "at last");
	client_wait(&a, "/next");
	cr_assert_lt(strstr(a.buf, "at last"), strstr(a.buf, "/next"));
}

Test(server, version_1_0_and_close_end_the_connection)
{
	start(&patient);
	client_connect(&a);
	client_send(&a, "GET /old HTTP/1.0\r\n\r\n");
	client_wait_end(&a);
	cr_assert_eq(client_count(&a, "Connection: close\r\n"), 1);
	cr_assert_eq(client_count(&a, "\r\n\r\n/old"), 1);
	client_connect(&b);
	client_send(&b, "GET /x HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n" GET("/more"));
	client_wait_end(&b);
	cr_assert_eq(client_count(&b, "200 OK"), 1);
	cr_assert_str_eq(api.last_path, "/x");
}

Test(server, head_is_answered_without_a_body)
{
	start(&patient);
	client_connect(&a);
	client_send(&a, "HEAD /four HTTP/1.1\r\n" HOST "\r\n" GET("/next"));
	client_wait(&a, "/next");
	cr_assert_eq(client_count(&a, "Content-Length: 5\r\n"), 2);
	cr_assert_eq(client_count(&a, "/four"), 0);
}

Test(server, client_that_waits_for_continue_is_told)
{
	start(&patient);
	client_connect(&a);
	client_send(&a,
		    "PUT /x HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n");
	client_wait(&a, "HTTP/1.1 100 Continue\r\n\r\n");
	client_send(&a, "body");
	client_wait(&a, "200 OK");
	cr_assert_str_eq(api.last_body, "body");
}

Test(server, client_that_stops_sending_gets_its_answers)
{
	start(&patient);
	client_connect(&a);
	client_send(&a, GET("/later") GET("/next"));
	cr_assert_eq(shutdown(a.source.fd, SHUT_WR), 0);
	wait_count(&api.requests);
	reply(api.waiting, "patience");
	client_wait_end(&a);
	cr_assert_eq(client_count(&a, "patience"), 1);
	cr_assert_eq(client_count(&a, "/next"), 1);
}

/* ---- hostile and broken clients ---- */

Test(server, bad_request_is_told_why_and_closed)
{
	start(&patient);
	client_connect(&a);
	client_send(&a, "GET / HTTP/1.1\r\n\r\n" GET("/x"));
	client_wait_end(&a);
	cr_assert_eq(client_count(&a, "HTTP/1.1 400 Bad Request\r\n"), 1);
	cr_assert_eq(client_count(&a, "{\"code\":\"bad_request\",\"message\":\"there is no "
				      "\\\"Host\\\"\",\"where\":null,\"hint\":null}\n"),
		     1, "%s", a.buf);
	cr_assert_eq(api.requests, 0);
}

/* It is still sending when it is refused: the answer must not be lost to a reset. */
Test(server, refused_client_that_goes_on_sending_sees_why)
{
	static char body[200 << 10];

	start(&patient);
	client_connect(&a);
	client_send(&a, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 10000000\r\n\r\n");
	client_wait(&a, "413 Content Too Large");
	cr_assert_eq(client_count(&a, "\"too_large\""), 1);
	for (size_t at = 0; at < sizeof(body); at += 4096) {
		client_send_bytes(&a, body, 4096);
		if (at % (16 << 10) == 0)
			client_wait(&a, "413"); /* a turn of the loop, which reads it away */
	}
	client_close(&a);
	wait_connections(0);
}

Test(server, refused_client_may_not_send_for_ever)
{
	struct timeval brief = {.tv_sec = 20};
	static char junk[64 << 10];
	ssize_t n = 1;

	start(&patient);
	client_connect(&a);
	cr_assert_eq(setsockopt(a.source.fd, SOL_SOCKET, SO_SNDTIMEO, &brief, sizeof(brief)), 0);
	client_send(&a, "nonsense\r\n\r\n");
	client_wait(&a, "HTTP/1.1 ");
	for (unsigned i = 0; i < 1000 && n > 0 && server_connections(server) > 0; i++) {
		n = send(a.source.fd, junk, sizeof(junk), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			client_wait(&a, "HTTP/1.1 "); /* a turn of the loop */
		n = n < 0 && errno != EAGAIN ? n : 1;
	}
	wait_connections(0);
}

Test(server, client_that_hangs_up_midway_is_forgotten)
{
	start(&patient);
	client_connect(&a);
	client_send(&a, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nhalf");
	wait_connections(1);
	client_close(&a);
	wait_connections(0);
	cr_assert_eq(api.requests, 0);
}

Test(server, client_that_hangs_up_before_its_answer_is_told_to_the_handler)
{
	start(&patient);
	client_connect(&a);
	client_send(&a, GET("/later"));
	wait_count(&api.requests);
	cr_assert_eq(api.gone, 0);
	client_close(&a);
	wait_count(&api.gone);
	cr_assert_eq(server_connections(server), 0);
}

Test(server, client_that_stops_reading_holds_up_nobody)
{
	start(&patient);
	client_connect_deaf(&a);
	client_send(&a, GET("/big") GET("/next"));
	wait_count(&api.requests);
	client_connect(&b);
	client_send(&b, GET("/x"));
	client_wait(&b, "/x");
	cr_assert_eq(api.requests, 2, "its next request waits for it");
	cr_assert_eq(server_connections(server), 2);
	client_close(&a);
	wait_connections(1);
}

Test(server, slow_reader_gets_every_byte)
{
	size_t total = 0;
	ssize_t n;

	start(&patient);
	client_connect_deaf(&a);
	client_send(&a, GET("/big"));
	wait_count(&api.requests);
	while (total < sizeof(big)) {
		n = recv(a.source.fd, a.buf, 10000, MSG_DONTWAIT);
		total += n > 0 ? (size_t)n : 0;
		if (n < 0)
			wait_connections(1); /* a turn of the loop */
	}
	cr_assert_eq(a.buf[0], 'b');
	cr_assert_eq(server_connections(server), 1);
}

/* ---- who may connect, and how many ---- */

Test(server, one_client_too_many_is_told_so)
{
	struct client many[4];

	start(&patient);
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		client_connect(&many[i]);
	client_connect(&a);
	client_send(&a, GET("/x"));
	client_wait_end(&a);
	cr_assert_eq(client_count(&a, "HTTP/1.1 503 Service Unavailable\r\n"), 1);
	cr_assert_eq(client_count(&a, "\"busy\""), 1);
	cr_assert_eq(api.requests, 0);
	client_close(&many[0]);
	wait_connections(3);
	client_connect(&b);
	client_send(&b, GET("/x"));
	client_wait(&b, "200 OK");
	for (unsigned i = 1; i < ARRAY_SIZE(many); i++)
		client_close(&many[i]);
}

Test(server, crowd_that_is_turned_away_is_bounded)
{
	static struct client many[40];
	unsigned told = 0;

	start(&(struct server_limits){.max_conns = 0, .write_ms = FOREVER_MS});
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		client_connect_deaf(&many[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++) {
		client_listen(&many[i]);
		client_wait_end(&many[i]);
		told += client_count(&many[i], "503");
	}
	cr_assert_eq(told, 8, "%u", told);
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		client_close(&many[i]);
}

Test(server, another_user_is_refused)
{
	start(&patient);
	client_connect_as(&a, 65534);
	client_send(&a, GET("/x"));
	client_wait_end(&a);
	cr_assert_eq(client_count(&a, "HTTP/1.1 403 Forbidden\r\n"), 1);
	cr_assert_eq(client_count(&a, "\"forbidden\""), 1);
	cr_assert_eq(api.requests, 0);
}

Test(server, its_user_and_root_are_let_in)
{
	cr_assert_eq(server_new(world_loop, world_listener, 65534, &patient, &api.handler, &server),
		     0);
	client_connect_as(&a, 65534);
	client_send(&a, GET("/x"));
	client_wait(&a, "200 OK");
	client_connect(&b);
	client_send(&b, GET("/x"));
	client_wait(&b, "200 OK");
}

/* ---- time ---- */

Test(server, idle_connection_is_closed)
{
	struct server_limits limits = patient;

	limits.idle_ms = SOON_MS;
	start(&limits);
	client_connect(&a);
	client_wait_end(&a);
	cr_assert_eq(a.n, 0);
	client_connect(&b);
	client_send(&b, GET("/x"));
	client_wait_end(&b);
	cr_assert_eq(client_count(&b, "200 OK"), 1);
}

Test(server, request_that_takes_too_long_is_refused)
{
	struct server_limits limits = patient;

	limits.request_ms = SOON_MS;
	start(&limits);
	client_connect(&a);
	client_connect(&b); /* silent: not its limit */
	client_send(&a, "PUT / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nhalf");
	client_wait_end(&a);
	cr_assert_eq(client_count(&a, "HTTP/1.1 408 Request Timeout\r\n"), 1);
	client_close(&a);
	wait_connections(1);
	cr_assert_not(b.ended);
}

Test(server, handler_may_take_its_time)
{
	static const struct server_limits limits = {
		.max_conns = 2, .request_ms = 1, .idle_ms = SOON_MS, .write_ms = 1};

	start(&limits);
	client_connect(&a);
	client_send(&a, GET("/later"));
	wait_count(&api.requests);
	client_connect(&b);
	client_wait_end(&b); /* all limits have gone by */
	reply(api.waiting, "patience");
	client_wait(&a, "patience");
}

Test(server, answer_that_nobody_reads_ends_the_connection)
{
	struct server_limits limits = patient;

	limits.write_ms = SOON_MS;
	start(&limits);
	client_connect_deaf(&a);
	client_send(&a, GET("/big"));
	wait_count(&api.requests);
	wait_connections(0);
}

/* ---- streams ---- */

Test(server, stream_gives_what_there_is_and_more_when_woken)
{
	tap.left = 3;
	start(&patient);
	client_connect(&a);
	client_send(&a, GET("/stream"));
	client_wait_times(&a, "tick\n", 3);
	cr_assert_eq(client_count(&a, "Connection: close\r\n"), 1);
	cr_assert_eq(client_count(&a, "Content-Length"), 0);
	tap.left = 2;
	server_stream_wake(&tap.stream);
	server_stream_wake(&tap.stream);
	client_wait_times(&a, "tick\n", 5);
	client_close(&a);
	wait_count(&tap.gone);
	cr_assert_eq(server_connections(server), 0);
	server_stream_wake(&tap.stream);
}

Test(server, stream_that_ends_closes_behind_its_last_byte)
{
	tap.left = 1000;
	tap.ends = true;
	start(&patient);
	client_connect(&a);
	client_send(&a, GET("/stream"));
	client_wait_end(&a);
	cr_assert_eq(client_count(&a, "tick\n"), 1000);
	cr_assert_eq(tap.gone, 1);
}

Test(server, stream_waits_for_a_client_that_does_not_read)
{
	static char text[2000];

	memset(text, 't', sizeof(text) - 1);
	tap.text = text;
	tap.left = 1000000;
	start(&patient);
	client_connect_deaf(&a);
	client_send(&a, GET("/stream"));
	wait_count(&api.requests);
	client_connect(&b);
	client_send(&b, GET("/x"));
	client_wait(&b, "200 OK");
	cr_assert_gt(tap.left, 990000, "what is not taken is not pulled");
	client_close(&a);
	wait_count(&tap.gone);
}

Test(server, quiet_stream_outlives_every_limit)
{
	static const struct server_limits limits = {
		.max_conns = 2, .request_ms = 1, .idle_ms = SOON_MS, .write_ms = 1};

	tap.left = 1;
	start(&limits);
	client_connect(&a);
	client_send(&a, GET("/stream"));
	client_wait(&a, "tick\n");
	client_connect(&b);
	client_wait_end(&b); /* all limits have gone by */
	tap.left = 1;
	server_stream_wake(&tap.stream);
	client_wait_times(&a, "tick\n", 2);
}

/* ---- sockets given away ---- */

static bool is_taken(void *arg)
{
	(void)arg;
	return taker.fd >= 0;
}

Test(server, socket_is_given_away_with_what_came_early)
{
	char buf[8];

	start(&patient);
	client_connect(&a);
	client_send(&a, "GET /socket HTTP/1.1\r\n" HOST
			"Connection: Upgrade\r\nUpgrade: vmm-stream\r\n\r\nearly");
	client_wait(&a, "HTTP/1.1 101 Switching Protocols\r\n");
	world_run_until(is_taken, NULL);
	cr_assert_eq(client_count(&a, "Connection: Upgrade\r\nUpgrade: vmm-stream\r\n\r\n"), 1);
	cr_assert_eq(taker.early_len, 5);
	cr_assert_arr_eq(taker.early, "early", 5);
	cr_assert_eq(server_connections(server), 0);
	client_send(&a, "late");
	cr_assert_eq(recv(taker.fd, buf, sizeof(buf), 0), 4);
	cr_assert_eq(taker.gone, 0);
	close(taker.fd);
	client_wait_end(&a);
}

Test(server, socket_without_upgrade_has_a_plain_head)
{
	start(&patient);
	client_connect(&a);
	client_send(&a, GET("/socket"));
	world_run_until(is_taken, NULL);
	client_wait(&a, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n");
	close(taker.fd);
}

/* ---- the end ---- */

Test(server, end_writes_what_waits)
{
	tap.left = 3;
	start(&patient);
	client_connect_deaf(&a);
	client_send(&a, GET("/stream"));
	client_connect(&b);
	client_send(&b, GET("/later"));
	while (api.requests < 2)
		wait_count(&(unsigned){1});
	client_listen(&a);
	reply(api.waiting, "last words");
	tap.left += 2;
	server = server_free(server, 1000);
	cr_assert_eq(tap.gone, 1);
	client_wait_end(&a);
	cr_assert_eq(client_count(&a, "tick\n"), 5);
	client_wait_end(&b);
	cr_assert_eq(client_count(&b, "last words"), 1);
}

Test(server, end_does_not_wait_for_one_that_does_not_read)
{
	start(&patient);
	client_connect_deaf(&a);
	client_send(&a, GET("/big"));
	wait_count(&api.requests);
	server = server_free(server, SOON_MS);
	cr_assert_null(server);
}

Test(server, end_tells_everybody_who_waits)
{
	start(&patient);
	client_connect(&a);
	client_send(&a, GET("/later"));
	wait_count(&api.requests);
	server = server_free(server, 0);
	cr_assert_eq(api.gone, 1);
	client_wait_end(&a);
}
