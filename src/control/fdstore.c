/* SPDX-License-Identifier: Apache-2.0 */
#include "control/fdstore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"
#include "control/listener.h"
#include "control/refusal.h"

/* More descriptors than may come in one message, so that each that is a mistake is closed here. */
enum { CONTROL_FDS = 4 };

struct entry {
	char name[FDSTORE_NAME_LEN];
	int fd;
};

struct fdstore {
	struct loop *loop;
	struct listener listener;
	unsigned idle_ms;
	struct entry entries[FDSTORE_MAX];
	unsigned n_entries;
	struct fdstore_conn *conns;
	unsigned n_conns;
};

struct fdstore_conn {
	struct fdstore *store;
	struct fdstore_conn *next;
	struct loop_fd socket;
	struct loop_timer timer;
	char line[FDSTORE_NAME_LEN]; /* the name and its newline, which gives way to the 0 */
	size_t len;
	int fd; /* that came with it; -1 */
};

/* ---- the store ---- */

static struct entry *find(struct fdstore *store, const char *name)
{
	for (unsigned i = 0; i < store->n_entries; i++)
		if (strcmp(store->entries[i].name, name) == 0)
			return &store->entries[i];
	return NULL;
}

static void remove_entry(struct fdstore *store, struct entry *entry)
{
	struct entry *last = &store->entries[--store->n_entries];

	memmove(entry, entry + 1, (size_t)(last - entry) * sizeof(*entry));
}

static bool is_name(const char *name)
{
	static const char letters[] = "0123456789._-abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t len = strlen(name);

	return len > 0 && len < FDSTORE_NAME_LEN && strspn(name, letters) == len;
}

/* Takes fd over; false when there is no room. */
static bool put(struct fdstore *store, const char *name, int fd)
{
	struct entry *entry = find(store, name);

	if (entry) {
		fd_close(entry->fd);
		entry->fd = fd;
		return true;
	}
	if (store->n_entries == FDSTORE_MAX) {
		fd_close(fd);
		return false;
	}
	entry = &store->entries[store->n_entries++];
	entry->fd = fd;
	strcpy(entry->name, name);
	return true;
}

int fdstore_take(struct fdstore *store, const char *text, struct err *err)
{
	static const char prefix[] = "fd:";
	const char *name = text + sizeof(prefix) - 1;
	struct entry *entry;
	int fd;

	if (strncmp(text, prefix, sizeof(prefix) - 1) != 0 || !is_name(name))
		return err_set(err, -EINVAL,
			       "a descriptor is given as \"fd:NAME\", with the name that it was "
			       "sent under");
	entry = find(store, name);
	if (!entry)
		return err_set(err, -ENOENT,
			       "no descriptor waits as \"%s\"; send it to fd.sock first", name);
	fd = entry->fd;
	remove_entry(store, entry);
	return fd;
}

const char *fdstore_name(const struct fdstore *store, unsigned index)
{
	return index < store->n_entries ? store->entries[index].name : NULL;
}

/* ---- answers ---- */

/* They are short: one that does not fit at once is for a client that does not read. */
static bool say(int fd, const char *text)
{
	ssize_t len = text ? (ssize_t)strlen(text) : -1;

	return len > 0 && send(fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) == len;
}

static void say_no(int fd, const char *code, const char *message, const char *hint)
{
	_cleanup_free_ char *text = refusal_json(code, message, NULL, hint);

	(void)say(fd, text);
}

static bool say_yes(int fd, const char *name)
{
	struct str line = {0};
	_cleanup_free_ char *text = NULL;

	str_addf(&line, "{\"fd\":\"%s\"}\n", name);
	text = str_steal(&line);
	return say(fd, text);
}

/* ---- connections ---- */

static void conn_free(struct fdstore_conn *conn)
{
	struct fdstore *store = conn->store;
	struct fdstore_conn **at = &store->conns;

	while (*at != conn)
		at = &(*at)->next;
	*at = conn->next;
	store->n_conns--;
	loop_del_fd(store->loop, &conn->socket);
	loop_timer_cancel(store->loop, &conn->timer);
	fd_close(conn->socket.fd);
	fd_close(conn->fd);
	free(conn);
}

static void on_timer(struct loop_timer *timer)
{
	conn_free(container_of(timer, struct fdstore_conn, timer));
}

static void expect_name(struct fdstore_conn *conn)
{
	conn->len = 0;
	loop_timer_arm(conn->store->loop, &conn->timer, conn->store->idle_ms * NS_PER_MS);
}

/* What a line says is done; false: the connection ends. */
static bool store_line(struct fdstore_conn *conn)
{
	int socket = conn->socket.fd;

	conn->line[conn->len - 1] = '\0';
	if (strlen(conn->line) != conn->len - 1 || !is_name(conn->line)) {
		say_no(socket, "bad_request", "this is no name for a descriptor",
		       "a name has 1 to 63 letters, digits, '.', '_' or '-', and a newline");
		return false;
	}
	if (conn->fd < 0) {
		say_no(socket, "bad_request", "no descriptor came with the name",
		       "send it in the same message, by SCM_RIGHTS");
		return false;
	}
	if (!put(conn->store, conn->line, TAKE_FD(conn->fd))) {
		say_no(socket, "busy", "too many descriptors wait already",
		       "use one of them, or send this one under the name of another");
		return false;
	}
	expect_name(conn);
	return say_yes(socket, conn->line);
}

/* The first one is kept if there is none yet; false when there are others. */
static bool keep_fd(struct fdstore_conn *conn, const struct cmsghdr *cmsg)
{
	size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	bool one = n == 1 && conn->fd < 0;

	for (size_t i = 0; i < n; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
		if (conn->fd < 0)
			conn->fd = fd;
		else
			fd_close(fd);
	}
	return one;
}

static bool keep_fds(struct fdstore_conn *conn, struct msghdr *msg)
{
	bool one = !(msg->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg))
		if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
			one &= keep_fd(conn, cmsg);
	return one;
}

/* What came is in line; false: the connection ends. */
static bool check_line(struct fdstore_conn *conn)
{
	const char *newline = memchr(conn->line, '\n', conn->len);

	if (newline == conn->line + conn->len - 1)
		return store_line(conn);
	if (!newline && conn->len < sizeof(conn->line))
		return true;
	say_no(conn->socket.fd, "bad_request",
	       newline ? "there is something behind the newline" : "the name is too long",
	       "send one name, and the next one after the answer");
	return false;
}

/* False: the connection ends. */
static bool receive(struct fdstore_conn *conn)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
	struct iovec iov = {conn->line + conn->len, sizeof(conn->line) - conn->len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(conn->socket.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (!keep_fds(conn, &msg)) {
		say_no(conn->socket.fd, "bad_request",
		       "more than one descriptor came with a name, or none could be taken",
		       "send one");
		return false;
	}
	conn->len += (size_t)n;
	return n > 0 && check_line(conn);
}

static void on_ready(struct loop_fd *source, uint32_t events)
{
	struct fdstore_conn *conn = container_of(source, struct fdstore_conn, socket);

	(void)events;
	if (!receive(conn))
		conn_free(conn);
}

static bool admit(struct fdstore *store, int fd)
{
	struct fdstore_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return false;
	conn->store = store;
	conn->socket = (struct loop_fd){.fd = fd, .ready = on_ready};
	conn->timer.fired = on_timer;
	conn->fd = -1;
	if (loop_add_fd(store->loop, &conn->socket, EPOLLIN) < 0) {
		free(conn);
		return false;
	}
	conn->next = store->conns;
	store->conns = conn;
	store->n_conns++;
	expect_name(conn);
	return true;
}

static void on_accepted(struct listener *listener, int fd, bool allowed)
{
	struct fdstore *store = container_of(listener, struct fdstore, listener);

	if (!allowed)
		say_no(fd, "forbidden", "this VM belongs to another user", NULL);
	else if (store->n_conns >= FDSTORE_MAX_CONNS)
		say_no(fd, "busy", "too many clients are connected", NULL);
	else if (admit(store, fd))
		return;
	fd_close(fd);
}

/* ---- life ---- */

int fdstore_new(struct loop *loop, int listen_fd, uid_t allowed_uid, unsigned idle_ms,
		struct fdstore **ret)
{
	struct fdstore *store = calloc(1, sizeof(*store));
	int r;

	if (!store)
		return -ENOMEM;
	store->loop = loop;
	store->idle_ms = idle_ms;
	store->listener = (struct listener){.accepted = on_accepted,
					    .allowed_uid = allowed_uid,
					    .what = "socket for descriptors"};
	r = listener_start(&store->listener, loop, listen_fd);
	if (r < 0) {
		free(store);
		return r;
	}
	*ret = store;
	return 0;
}

struct fdstore *fdstore_free(struct fdstore *store)
{
	if (!store)
		return NULL;
	listener_stop(&store->listener);
	while (store->conns)
		conn_free(store->conns);
	for (unsigned i = 0; i < store->n_entries; i++)
		fd_close(store->entries[i].fd);
	free(store);
	return NULL;
}
