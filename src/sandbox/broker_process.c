/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/broker_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "sandbox/broker_wire.h"
#include "sandbox/helper.h"

struct process {
	struct helper_owner owner;
	int sock;
	bool vmm_is_gone;
	const struct helper_row *table;
	unsigned n_rows;
	struct helper *helpers[BROKER_MAX_HELPERS]; /* by number; NULL: free */
	struct broker_request request;		    /* that is read */
};

/* ---- what vmm is told ---- */

/* Waits for room, or for vmm's end. */
static void wait_for_room(struct process *p)
{
	struct pollfd fd = {.fd = p->sock, .events = POLLOUT};

	while (poll(&fd, 1, -1) < 0 && errno == EINTR)
		;
	if (fd.revents & (POLLHUP | POLLERR))
		p->vmm_is_gone = true;
}

static void tell(struct process *p, enum broker_reply_type type, unsigned helper, int code,
		 const char *text, int fd)
{
	struct broker_reply reply = {.type = type, .helper = helper, .code = code};
	int r;

	(void)snprintf(reply.text, sizeof(reply.text), "%s", text);
	while ((r = broker_wire_send(p->sock, &reply, sizeof(reply), fd)) == -EAGAIN) {
		/* A line more or less: a helper's log must not hold up anything. */
		if (type == BROKER_LINE || type == BROKER_PREFACE)
			return;
		wait_for_room(p);
		if (p->vmm_is_gone)
			return;
	}
	if (r < 0)
		p->vmm_is_gone = true;
}

static struct process *process_of(struct helper_owner *owner)
{
	return container_of(owner, struct process, owner);
}

static void on_line(struct helper_owner *owner, struct helper *h, const char *text)
{
	tell(process_of(owner), BROKER_LINE, helper_number(h), 0, text, -1);
}

static void on_preface(struct helper_owner *owner, struct helper *h, const char *text)
{
	tell(process_of(owner), BROKER_PREFACE, helper_number(h), 0, text, -1);
}

static void on_ready(struct helper_owner *owner, struct helper *h, int fd)
{
	tell(process_of(owner), helper_was_ready(h) ? BROKER_RESTARTED : BROKER_STARTED,
	     helper_number(h), 0, "", fd);
}

static void on_failed(struct helper_owner *owner, struct helper *h, int code, const char *text)
{
	tell(process_of(owner), helper_was_ready(h) ? BROKER_NOT_RESTARTED : BROKER_START_FAILED,
	     helper_number(h), code, text, -1);
}

static void on_died(struct helper_owner *owner, struct helper *h, const char *how)
{
	tell(process_of(owner), BROKER_DIED, helper_number(h), 0, how, -1);
}

static const struct helper_owner_ops owner_ops = {.line = on_line,
						  .preface = on_preface,
						  .ready = on_ready,
						  .failed = on_failed,
						  .died = on_died};

/* ---- what vmm asks for ---- */

static int make_helper(struct process *p, const struct broker_request *request, struct helper **ret)
{
	unsigned n = 0;
	int r;

	if (request->kind >= p->n_rows)
		return -EINVAL;
	while (n < BROKER_MAX_HELPERS && p->helpers[n])
		n++;
	if (n == BROKER_MAX_HELPERS)
		return -ENOSPC;
	r = helper_new(&p->table[request->kind], &request->settings, &p->owner, n, ret);
	if (r == 0)
		p->helpers[n] = *ret;
	return r;
}

static void on_request(struct process *p)
{
	struct helper *h;
	int fd = -1, r = -EBADMSG;
	ssize_t n = broker_wire_receive(p->sock, &p->request, sizeof(p->request), &fd);

	(void)fd_close(fd);
	if (n == -EAGAIN)
		return;
	if (n <= 0 && n != -EMSGSIZE) {
		p->vmm_is_gone = true;
		return;
	}
	if (n == sizeof(p->request) && p->request.type == BROKER_START)
		r = make_helper(p, &p->request, &h);
	if (r == 0)
		helper_begin(h);
	else
		tell(p, BROKER_START_FAILED, 0, r, strerror(-r), -1);
}

/* ---- the loop ---- */

/* Milliseconds until somebody has to be looked after, rounded up. */
static int patience(const struct process *p, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < BROKER_MAX_HELPERS; i++)
		if (p->helpers[i])
			next = MIN(next, helper_deadline(p->helpers[i]));
	if (next == UINT64_MAX)
		return -1;
	return next <= now ? 0 : (int)MIN((next - now) / NS_PER_MS + 1, UINT64_C(60000));
}

static void serve_helper(struct process *p, unsigned i, const struct pollfd *fds)
{
	helper_polled(p->helpers[i], fds);
	helper_tick(p->helpers[i], clock_now_ns());
	if (helper_is_over(p->helpers[i]))
		p->helpers[i] = helper_free(p->helpers[i]);
}

static void serve(struct process *p)
{
	struct pollfd fds[1 + BROKER_MAX_HELPERS * HELPER_POLLS];
	bool polled[BROKER_MAX_HELPERS];

	fds[0] = (struct pollfd){.fd = p->sock, .events = POLLIN};
	for (unsigned i = 0; i < BROKER_MAX_HELPERS; i++) {
		struct pollfd *at = &fds[1 + i * HELPER_POLLS];

		polled[i] = p->helpers[i] != NULL;
		for (unsigned k = 0; k < HELPER_POLLS; k++)
			at[k] = (struct pollfd){.fd = -1};
		if (polled[i])
			helper_polls(p->helpers[i], at);
	}
	if (poll(fds, ARRAY_SIZE(fds), patience(p, clock_now_ns())) < 0)
		return;
	for (unsigned i = 0; i < BROKER_MAX_HELPERS; i++)
		if (polled[i])
			serve_helper(p, i, &fds[1 + i * HELPER_POLLS]);
	if (fds[0].revents)
		on_request(p);
}

/* ---- the end ---- */

/* Descendants that had left their helper's group are our children now that their parents are gone.
 * False: there is none left. */
static bool kill_an_orphan(void)
{
	char path[64], text[16] = "";
	int fd, n;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : (int)read(fd, text, sizeof(text) - 1);
	(void)fd_close(fd);
	if (n <= 0 || atoi(text) <= 0)
		return false;
	(void)kill(atoi(text), SIGKILL);
	return waitpid(atoi(text), NULL, 0) > 0;
}

static void end_all(struct process *p)
{
	uint64_t since = clock_now_ns();

	for (unsigned i = 0; i < BROKER_MAX_HELPERS; i++)
		if (p->helpers[i])
			helper_ask_to_end(p->helpers[i]);
	for (unsigned i = 0; i < BROKER_MAX_HELPERS; i++)
		if (p->helpers[i])
			helper_end(p->helpers[i], since);
	while (kill_an_orphan())
		;
}

/* ---- the beginning ---- */

/* Nothing of vmm's stays open: its peers would wait for the broker's end, too. */
static int close_what_is_vmms(struct process *p)
{
	enum { SOCK = 3, ABOVE = 16 };
	int sock = fcntl(p->sock, F_DUPFD_CLOEXEC, ABOVE), null = open("/dev/null", O_RDWR);

	if (sock < 0 || null < 0)
		return -errno;
	for (int fd = 0; fd < SOCK; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	if (dup3(sock, SOCK, O_CLOEXEC) < 0 || close_range(SOCK + 1, ~0u, 0) < 0)
		return -errno;
	p->sock = SOCK;
	return fd_set_nonblock(SOCK);
}

/* It ends when vmm does, by nothing else; a session of its own keeps the terminal's keys away. */
static int detach(void)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)signal(SIGCHLD, SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)prctl(PR_SET_NAME, "vmm-broker", 0, 0, 0);
	(void)umask(077);
	if (sigprocmask(SIG_BLOCK, &all, NULL) < 0 || setsid() < 0 || chdir("/") < 0 ||
	    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

/* To change a helper's user, to end one that has changed it, and what helpers keep. */
static uint64_t needed_capabilities(const struct process *p)
{
	uint64_t caps =
		UINT64_C(1) << CAP_SETUID | UINT64_C(1) << CAP_SETGID | UINT64_C(1) << CAP_KILL;

	for (unsigned i = 0; i < p->n_rows; i++)
		caps |= p->table[i].capabilities;
	return caps;
}

static int settle(struct process *p, enum sandbox_mode mode, struct err *err)
{
	int r = close_what_is_vmms(p);

	if (r == 0)
		r = detach();
	if (r < 0)
		return err_set(err, r, "%s", strerror(-r));
	return sandbox_lock_broker(mode, needed_capabilities(p), err);
}

_Noreturn void broker_process(int sock, enum sandbox_mode mode, const struct helper_row *table,
			      unsigned n_rows)
{
	struct process *p = calloc(1, sizeof(*p));
	struct err err = {0};
	int r;

	if (!p)
		_exit(1);
	*p = (struct process){
		.owner.ops = &owner_ops, .sock = sock, .table = table, .n_rows = n_rows};
	r = settle(p, mode, &err);
	tell(p, BROKER_HELLO, 0, r, err.msg, -1);
	while (r == 0 && !p->vmm_is_gone)
		serve(p);
	end_all(p);
	_exit(r < 0 ? 1 : 0);
}
