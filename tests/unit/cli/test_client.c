/* SPDX-License-Identifier: Apache-2.0 */
/* The client against answers that were written before; a socket pair stands for the connection. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/client.h"

struct exchange {
	struct client_reply reply;
	struct err err;
	int result, peer;
	char request[1024];
};

/* Answers with `answer` and then closes its side for writing. */
static void exchange(struct exchange *x, const struct client_request *request, const char *answer)
{
	ssize_t n;
	int pair[2];

	*x = (struct exchange){.reply.fd = -1};
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(write(pair[1], answer, strlen(answer)), (ssize_t)strlen(answer));
	cr_assert_eq(shutdown(pair[1], SHUT_WR), 0);
	x->peer = pair[1];
	x->result = client_do_on(pair[0], request, &x->reply, &x->err);
	n = recv(pair[1], x->request, sizeof(x->request) - 1, MSG_DONTWAIT);
	cr_assert_gt(n, 0);
	x->request[n] = '\0';
}

static const struct client_request get = {.method = "GET", .target = "/v1/info"};

Test(client, a_body_with_a_length_is_collected)
{
	struct exchange x;

	exchange(&x, &get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
	cr_assert_eq(x.result, 0, "%s", x.err.msg);
	cr_assert_str_eq(x.reply.body, "hello");
	cr_assert_eq(x.reply.len, 5);
	cr_assert_eq(x.reply.fd, -1);
	cr_assert_eq(strncmp(x.request, "GET /v1/info HTTP/1.1\r\n", 23), 0, "%s", x.request);
	cr_assert_not(strstr(x.request, "Content-Length"));
	free(x.reply.body);
}

Test(client, a_body_without_a_length_ends_with_the_connection)
{
	struct exchange x;

	exchange(&x, &get, "HTTP/1.1 200 OK\r\n\r\nall of it");
	cr_assert_eq(x.result, 0, "%s", x.err.msg);
	cr_assert_str_eq(x.reply.body, "all of it");
	free(x.reply.body);
}

Test(client, a_body_is_sent_with_its_length)
{
	const struct client_request put = {
		.method = "PUT", .target = "/v1/log", .body = "{}", .body_len = 2};
	struct exchange x;

	exchange(&x, &put, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	cr_assert_eq(x.result, 0, "%s", x.err.msg);
	cr_assert(strstr(x.request, "\r\nContent-Length: 2\r\n"), "%s", x.request);
	cr_assert_str_eq(strstr(x.request, "\r\n\r\n"), "\r\n\r\n{}");
	cr_assert_str_eq(x.reply.body, "");
	free(x.reply.body);
}

static void expect_error(const char *answer, int code, const char *message)
{
	struct exchange x;

	exchange(&x, &get, answer);
	cr_expect_eq(x.result, code, "%s: %d", answer, x.result);
	cr_expect(strstr(x.err.msg, message), "no '%s' in '%s'", message, x.err.msg);
	cr_expect_null(x.reply.body);
}

Test(client, a_refusal_is_told_in_the_words_of_the_vm)
{
	expect_error("HTTP/1.1 409 Conflict\r\n\r\n{\"code\": \"conflict\", \"message\": \"it is "
		     "paused\", \"where\": null, \"hint\": \"resume it\"}",
		     -EBUSY, "it is paused; resume it");
	expect_error("HTTP/1.1 400 Bad Request\r\n\r\n{\"code\": \"bad_request\", \"message\": "
		     "\"no\", \"where\": \"/timeout\", \"hint\": null}",
		     -EINVAL, "/timeout: no");
	expect_error("HTTP/1.1 404 Not Found\r\n\r\n{}", -ENOENT, "status 404");
	expect_error("HTTP/1.1 503 Busy\r\n\r\nnot JSON", -EAGAIN, "status 503");
	expect_error("HTTP/1.1 403 Forbidden\r\n\r\n", -EPERM, "status 403");
	expect_error("HTTP/1.1 500 Oh\r\n\r\n[1]", -EIO, "status 500");
}

Test(client, an_answer_that_is_cut_or_none_is_an_error)
{
	expect_error("", -ECONNRESET, "closed the connection");
	expect_error("HTTP/1.1 200 OK\r\nContent-Le", -ECONNRESET, "closed the connection");
	expect_error("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", -ECONNRESET, "closed");
	expect_error("SSH-2.0-OpenSSH\r\n\r\n", -EPROTO, "is not HTTP");
}

Test(client, silence_is_told_after_the_timeout)
{
	const struct client_request impatient = {
		.method = "GET", .target = "/v1/info", .timeout_ms = 1};
	struct client_reply reply;
	struct err err = {0};
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(client_do_on(pair[0], &impatient, &reply, &err), -ETIMEDOUT);
	cr_assert(strstr(err.msg, "does not answer"), "%s", err.msg);
	/* The socket was the callee's. */
	cr_assert_eq(fcntl(pair[0], F_GETFD), -1);
}

struct sink {
	char text[64];
	size_t most;
};

static bool take(void *arg, const char *bytes, size_t n)
{
	struct sink *sink = arg;

	(void)strncat(sink->text, bytes, n);
	return strlen(sink->text) < sink->most;
}

Test(client, a_stream_goes_to_its_sink_and_may_be_left)
{
	struct sink all = {.most = 60}, some = {.most = 3};
	struct client_request request = get;
	struct exchange x;

	request.sink = take;
	request.arg = &all;
	exchange(&x, &request, "HTTP/1.1 200 OK\r\n\r\nevents");
	cr_assert_eq(x.result, 0, "%s", x.err.msg);
	cr_assert_str_eq(all.text, "events");
	cr_assert_str_eq(x.reply.body, "");
	free(x.reply.body);
	request.arg = &some;
	exchange(&x, &request, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nevents");
	cr_assert_eq(x.result, 0, "%s", x.err.msg);
	free(x.reply.body);
}

Test(client, a_refusal_does_not_go_to_the_sink)
{
	struct client_request request = get;
	struct sink sink = {.most = 60};
	struct exchange x;

	request.sink = take;
	request.arg = &sink;
	exchange(&x, &request, "HTTP/1.1 404 Not Found\r\n\r\n{\"message\": \"no console\"}");
	cr_assert_eq(x.result, -ENOENT);
	cr_assert_str_eq(x.err.msg, "no console");
	cr_assert_str_eq(sink.text, "");
}

Test(client, an_upgrade_gives_the_socket_and_its_first_bytes)
{
	struct client_request request = get;
	struct exchange x;
	char c;

	request.upgrade = true;
	exchange(&x, &request,
		 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: vmm-stream\r\nConnection: "
		 "Upgrade\r\n\r\nlogin: ");
	cr_assert_eq(x.result, 0, "%s", x.err.msg);
	cr_assert(strstr(x.request, "\r\nUpgrade: vmm-stream\r\n"), "%s", x.request);
	cr_assert_eq(x.reply.len, 7);
	cr_assert_str_eq(x.reply.body, "login: ");
	cr_assert_eq(write(x.reply.fd, "x", 1), 1);
	cr_assert_eq(read(x.peer, &c, 1), 1);
	free(x.reply.body);
}

Test(client, an_upgrade_that_does_not_come_is_an_error)
{
	struct client_request request = get;
	struct exchange x;

	request.upgrade = true;
	exchange(&x, &request, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
	cr_assert_eq(x.result, -EPROTO);
	cr_assert_eq(x.reply.fd, -1);
}

/* Writes more than an answer may weigh, until nobody takes it any more. */
static void flood(int fd)
{
	static const char head[] = "HTTP/1.1 200 OK\r\n\r\n";
	static char block[65536];

	memset(block, 'x', sizeof(block));
	if (send(fd, head, sizeof(head) - 1, MSG_NOSIGNAL) < 0)
		_exit(1);
	while (send(fd, block, sizeof(block), MSG_NOSIGNAL) > 0)
		;
	_exit(0);
}

Test(client, an_answer_without_end_is_given_up, .timeout = 60)
{
	struct client_reply reply;
	struct err err = {0};
	int pair[2], status;
	pid_t pid;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	if (pid == 0) {
		(void)close(pair[0]);
		flood(pair[1]);
	}
	cr_assert_eq(close(pair[1]), 0);
	cr_assert_eq(client_do_on(pair[0], &get, &reply, &err), -EFBIG);
	cr_assert(strstr(err.msg, "longer than"), "%s", err.msg);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
}
