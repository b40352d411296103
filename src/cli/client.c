/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include <errno.h>
#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "control/rundir.h"

/* One request and what has come back so far. */
struct exchange {
	const struct client_request *request;
	int fd;
	http_parser parser;
	struct str body;
	bool streaming, complete, stopped, too_large;
};

static int set_timeout(int fd, int option, unsigned ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	return setsockopt(fd, SOL_SOCKET, option, &tv, sizeof(tv)) < 0 ? -errno : 0;
}

/* ---- the request ---- */

static int send_all(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		bytes += sent;
		n -= (size_t)sent;
	}
	return 0;
}

static int send_request(int fd, const struct client_request *request)
{
	_cleanup_free_ char *text = NULL;
	struct str out = {0};
	size_t len;

	str_addf(&out, "%s %s HTTP/1.1\r\nHost: vmm\r\nConnection: %s\r\n", request->method,
		 request->target, request->upgrade ? "Upgrade\r\nUpgrade: vmm-stream" : "close");
	if (request->body)
		str_addf(&out, "Content-Length: %zu\r\n", request->body_len);
	str_add(&out, "\r\n");
	if (request->body)
		str_addn(&out, request->body, request->body_len);
	len = out.len;
	text = str_steal(&out);
	return text ? send_all(fd, text, len) : -ENOMEM;
}

/* ---- the answer ---- */

static int on_head(http_parser *parser)
{
	struct exchange *x = parser->data;

	x->streaming = x->request->sink && parser->status_code == 200;
	/* What comes in a stream comes when it happens. */
	return x->streaming && set_timeout(x->fd, SO_RCVTIMEO, 0) < 0 ? -1 : 0;
}

static int on_body(http_parser *parser, const char *bytes, size_t n)
{
	struct exchange *x = parser->data;

	if (x->streaming) {
		x->stopped = !x->request->sink(x->request->arg, bytes, n);
		return x->stopped;
	}
	x->too_large = x->body.len + n > CLIENT_MAX_BODY;
	if (!x->too_large)
		str_addn(&x->body, bytes, n);
	return x->too_large;
}

static int on_complete(http_parser *parser)
{
	struct exchange *x = parser->data;

	x->complete = true;
	return 0;
}

static const http_parser_settings settings = {
	.on_headers_complete = on_head,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

/* n 0: the connection was closed. 0, or 1 when the answer is there, or -errno. */
static int take_bytes(struct exchange *x, const char *bytes, size_t n)
{
	size_t taken = http_parser_execute(&x->parser, &settings, bytes, n);

	if (x->too_large)
		return -EFBIG;
	if (x->parser.upgrade && x->parser.status_code == 101) {
		str_addn(&x->body, bytes + taken, n - taken);
		return 1;
	}
	if (x->stopped || x->complete)
		return 1;
	if (n == 0)
		return -ECONNRESET;
	return HTTP_PARSER_ERRNO(&x->parser) == HPE_OK ? 0 : -EPROTO;
}

static int read_answer(struct exchange *x)
{
	char bytes[2048];
	int r = 0;

	http_parser_init(&x->parser, HTTP_RESPONSE);
	x->parser.data = x;
	while (r == 0) {
		ssize_t n = recv(x->fd, bytes, sizeof(bytes), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		r = take_bytes(x, bytes, (size_t)n);
	}
	return r < 0 ? r : 0;
}

static int code_of(unsigned status)
{
	switch (status) {
	case 403:
		return -EPERM;
	case 404:
		return -ENOENT;
	case 409:
		return -EBUSY;
	case 503:
		return -EAGAIN;
	default:
		return status < 500 ? -EINVAL : -EIO;
	}
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && *text ? text : NULL;
}

/* {"code", "message", "where", "hint"} as a sentence. */
static int refused(const struct exchange *x, struct err *err)
{
	json_t *object = json_loadb(x->body.buf ? x->body.buf : "", x->body.len, 0, NULL);
	const char *message = text_of(object, "message"), *where = text_of(object, "where"),
		   *hint = text_of(object, "hint");
	int code = code_of(x->parser.status_code);

	if (message)
		(void)err_set(err, code, "%s%s%s%s%s", where ? where : "", where ? ": " : "",
			      message, hint ? "; " : "", hint ? hint : "");
	else
		(void)err_set(err, code, "it answered with HTTP status %u and no reason",
			      x->parser.status_code);
	json_decref(object);
	return code;
}

static int failed(const struct exchange *x, int code, struct err *err)
{
	unsigned ms = x->request->timeout_ms ? x->request->timeout_ms : CLIENT_ANSWER_MS;

	switch (code) {
	case -ETIMEDOUT:
		return err_set(err, code, "it does not answer (waited for %u ms)", ms);
	case -EPIPE:
	case -ECONNRESET:
		return err_set(err, -ECONNRESET, "it closed the connection before it had answered");
	case -EFBIG:
		return err_set(err, code, "its answer is longer than %d bytes", CLIENT_MAX_BODY);
	case -EPROTO:
		return err_set(err, code, "what it answered is not HTTP (%s)",
			       http_errno_description(HTTP_PARSER_ERRNO(&x->parser)));
	default:
		return err_set(err, code, "the control socket: %s", strerror(-code));
	}
}

int client_do_on(int fd, const struct client_request *request, struct client_reply *ret,
		 struct err *err)
{
	unsigned ms = request->timeout_ms ? request->timeout_ms : CLIENT_ANSWER_MS;
	_cleanup_close_ int owned = fd;
	struct exchange x = {.request = request, .fd = fd};
	struct client_reply reply = {.fd = -1};
	int r = set_timeout(fd, SO_RCVTIMEO, ms);

	if (r == 0)
		r = set_timeout(fd, SO_SNDTIMEO, ms);
	if (r == 0)
		r = send_request(fd, request);
	/* A refusal may come before all of the request was taken. */
	if (r == 0 || r == -EPIPE || r == -ECONNRESET)
		r = read_answer(&x);
	if (r < 0)
		r = failed(&x, r, err);
	else if (x.parser.status_code >= 300)
		r = refused(&x, err);
	else if (request->upgrade && !x.parser.upgrade)
		r = err_set(err, -EPROTO, "it did not open a stream");
	if (r == 0) {
		reply.len = x.body.len;
		reply.body = str_steal(&x.body);
		reply.fd = request->upgrade ? TAKE_FD(owned) : -1;
		*ret = reply;
	}
	str_done(&x.body);
	return r;
}

/* A VM that has just been started makes its socket in a moment, one that ends removes it. */
static int connect_patiently(int dir_fd, unsigned timeout_ms)
{
	uint64_t end_ns = clock_now_ns() + timeout_ms * NS_PER_MS;
	int fd, r;

	for (;;) {
		fd = rundir_connect(dir_fd, RUNDIR_SOCKET);
		if (fd != -ENOENT && fd != -ECONNREFUSED)
			return fd;
		r = rundir_wait_dead(dir_fd, 10 * NS_PER_MS, NULL);
		if (r != -ETIMEDOUT)
			return r < 0 ? r : -ESRCH;
		if (clock_now_ns() >= end_ns)
			return -ETIMEDOUT;
	}
}

int client_do(int dir_fd, const struct client_request *request, struct client_reply *ret,
	      struct err *err)
{
	int fd = connect_patiently(dir_fd,
				   request->timeout_ms ? request->timeout_ms : CLIENT_ANSWER_MS);

	if (fd == -ESRCH)
		return err_set(err, fd, "it is not running");
	if (fd == -ETIMEDOUT)
		return err_set(err, fd, "it takes no connections on its control socket");
	if (fd < 0)
		return err_set(err, fd, "%s: %s", RUNDIR_SOCKET, strerror(-fd));
	return client_do_on(fd, request, ret, err);
}

int client_json(int dir_fd, const char *method, const char *target, const char *body, json_t **ret,
		struct err *err)
{
	struct client_request request = {.method = method,
					 .target = target,
					 .body = body,
					 .body_len = body ? strlen(body) : 0};
	struct client_reply reply;
	int r = client_do(dir_fd, &request, &reply, err);

	if (r < 0)
		return r;
	*ret = reply.body ? json_loadb(reply.body, reply.len, 0, NULL) : NULL;
	free(reply.body);
	return *ret ? 0 : err_set(err, -EPROTO, "%s: its answer is not JSON", target);
}
