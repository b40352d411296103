/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Further readers and senders of a stream. Each has a ring of its own, so that none waits for
 * another. The hang-up of a peer is found by whoever has to do with it first: the output (EPIPE),
 * the input, or, while no input is read, a watch for nothing but that.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "backend/chr_core.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"

/* ---- any thread ---- */

void chr_clients_write(struct chr *chr, const void *buf, size_t n)
{
	mutex_lock(&chr->clients_lock);
	for (unsigned i = 0; i < CHR_MAX_CLIENTS; i++)
		if (chr->clients[i])
			(void)chr_out_write(&chr->clients[i]->out, buf, n);
	mutex_unlock(&chr->clients_lock);
}

/* ---- the loop's thread ---- */

/* What the peer sent is still for the receiver, which may be slow to take it. */
static void leave_input(struct chr_client *client)
{
	struct chr_in *typed = NULL;

	if (client->input && chr_funnel_typed(client->chr, &typed) == 0 && typed)
		chr_in_hand_over(&client->in, typed);
}

/* The watcher may free the client, so it is told when nobody is at work on it. */
static void gone(struct chr_client *client)
{
	if (client->is_gone)
		return;
	client->is_gone = true;
	loop_del_fd(client->chr->loop, &client->hangup);
	leave_input(client);
	loop_post(client->chr->loop, &client->gone);
}

static void on_gone(struct loop_work *work)
{
	struct chr_client *client = container_of(work, struct chr_client, gone);

	client->watcher->hung_up(client->watcher);
}

static bool output_lost(struct chr_out *out)
{
	gone(container_of(out, struct chr_client, out));
	return true;
}

static void input_hung_up(struct chr_in *in)
{
	gone(container_of(in, struct chr_client, in));
}

static void on_hangup(struct loop_fd *source, uint32_t events)
{
	(void)events;
	gone(container_of(source, struct chr_client, hangup));
}

/* With no events at all a hang-up is still reported. A regular file is refused, and never hangs up.
 */
static void watch_hangup(struct chr_client *client)
{
	client->hangup = (struct loop_fd){.fd = client->fd.fd, .ready = on_hangup};
	if (!client->is_gone && loop_add_fd(client->chr->loop, &client->hangup, 0) == -ENOMEM)
		gone(client);
}

/* It sends no more, but may go on reading. */
static void input_ended(struct chr_in *in)
{
	watch_hangup(container_of(in, struct chr_client, in));
}

/* ---- life ---- */

static void free_client(struct chr_client *client)
{
	struct loop *loop = client->chr->loop;

	loop_del_fd(loop, &client->hangup);
	loop_work_cancel(loop, &client->gone);
	if (client->input)
		chr_in_done(&client->in);
	chr_out_done(&client->out);
	chr_fd_close(&client->fd);
	free(client);
}

static int start_output(struct chr_client *client)
{
	struct chr_fd out = CHR_FD_NONE;
	int r = chr_fd_dup(&client->fd, &out);

	if (r < 0)
		return r;
	chr_out_attach(&client->out, out);
	client->out.lost = output_lost;
	chr_out_start(&client->out, client->chr->loop);
	return 0;
}

static int start_input(struct chr_client *client)
{
	struct chr_fd fd = client->fd;
	int r = chr_in_init(&client->in);

	if (r < 0)
		return r;
	client->input = true;
	client->in.left = input_ended;
	client->in.hangup = input_hung_up;
	fd.owned = false;
	chr_in_attach(&client->in, fd);
	chr_funnel_add(client->chr, &client->in, &client->inlet);
	chr_in_start(&client->in, client->chr->loop);
	return 0;
}

/* Takes fd over unless it fails. */
static int new_client(struct chr *chr, int fd, bool input, struct chr_client **ret)
{
	struct chr_client *client = calloc(1, sizeof(*client));
	int r;

	if (!client)
		return -ENOMEM;
	client->chr = chr;
	client->gone.run = on_gone;
	client->fd = chr_fd_adopt(fd);
	r = chr_out_init(&client->out, chr->what);
	if (r == 0)
		r = start_output(client);
	if (r == 0 && input)
		r = start_input(client);
	if (r < 0) {
		client->fd.owned = false;
		free_client(client);
		return r;
	}
	if (!input)
		watch_hangup(client);
	*ret = client;
	return 0;
}

static void set_slot(struct chr *chr, unsigned slot, struct chr_client *client)
{
	mutex_lock(&chr->clients_lock);
	chr->clients[slot] = client;
	mutex_unlock(&chr->clients_lock);
	if (client)
		atomic_fetch_add(&chr->n_clients, 1);
	else
		atomic_fetch_sub(&chr->n_clients, 1);
}

int chr_attach(struct chr *chr, int fd, bool input, struct chr_client_watcher *watcher,
	       struct chr_client **ret)
{
	struct chr_client *client = NULL;
	unsigned slot = 0;
	int r = -EBUSY;

	while (slot < CHR_MAX_CLIENTS && chr->clients[slot])
		slot++;
	if (slot < CHR_MAX_CLIENTS)
		r = new_client(chr, fd, input, &client);
	if (r < 0 || !client) {
		(void)fd_close(fd);
		return r;
	}
	client->watcher = watcher;
	set_slot(chr, slot, client);
	*ret = client;
	return 0;
}

struct chr_client *chr_detach(struct chr_client *client)
{
	struct chr *chr;

	if (!client)
		return NULL;
	chr = client->chr;
	for (unsigned i = 0; i < CHR_MAX_CLIENTS; i++)
		if (chr->clients[i] == client)
			set_slot(chr, i, NULL);
	if (!client->is_gone)
		leave_input(client);
	client->is_gone = true;
	chr_out_flush(&client->out, 0);
	free_client(client);
	return NULL;
}

struct chr_stats chr_client_stats(const struct chr_client *client)
{
	return (struct chr_stats){
		.written = atomic_load_explicit(&client->out.written, memory_order_relaxed),
		.dropped = atomic_load_explicit(&client->out.dropped, memory_order_relaxed),
		.received = client->input ? atomic_load_explicit(&client->in.received,
								 memory_order_relaxed)
					  : 0,
	};
}

unsigned chr_n_clients(const struct chr *chr)
{
	return atomic_load_explicit(&chr->n_clients, memory_order_relaxed);
}

void chr_clients_flush(struct chr *chr, uint64_t deadline_ns)
{
	for (unsigned i = 0; i < CHR_MAX_CLIENTS; i++) {
		uint64_t now = clock_now_ns();
		unsigned ms = deadline_ns > now ? (unsigned)((deadline_ns - now) / NS_PER_MS) : 0;

		if (chr->clients[i])
			chr_out_flush(&chr->clients[i]->out, ms);
	}
}

void chr_clients_init(struct chr *chr)
{
	mutex_init(&chr->clients_lock);
}

void chr_clients_done(struct chr *chr)
{
	for (unsigned i = 0; i < CHR_MAX_CLIENTS; i++)
		(void)chr_detach(chr->clients[i]);
}
