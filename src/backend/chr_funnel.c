/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several inputs, one receiver. A receiver that took less than it was given wants nothing from any
 * of them until it asks again; then they are served in turn, so that a sender who never pauses does
 * not keep the others out.
 */
#include <errno.h>

#include "backend/chr_core.h"

enum { INPUTS = CHR_MAX_CLIENTS + 2 };

static size_t inlet_bytes(struct chr_rx *rx, const uint8_t *buf, size_t n)
{
	struct chr *chr = container_of(rx, struct chr_inlet, rx)->chr;
	size_t taken;

	if (chr->refused || !chr->rx)
		return 0;
	taken = chr->rx->bytes(chr->rx, buf, n);
	chr->refused = taken < n;
	return taken;
}

static void own_eof(struct chr_rx *rx)
{
	struct chr *chr = container_of(rx, struct chr_inlet, rx)->chr;

	if (chr->rx)
		chr->rx->eof(chr->rx);
}

static void no_eof(struct chr_rx *rx)
{
	(void)rx;
}

static struct chr_in *input(struct chr *chr, unsigned i, struct chr_inlet **ret_inlet)
{
	struct chr_client *client;

	if (i == 0) {
		*ret_inlet = &chr->inlet;
		return &chr->in;
	}
	if (i == 1) {
		*ret_inlet = &chr->typed_inlet;
		return chr->has_typed ? &chr->typed : NULL;
	}
	client = chr->clients[i - 2];
	if (!client || !client->input)
		return NULL;
	*ret_inlet = &client->inlet;
	return &client->in;
}

static void on_ask(struct loop_work *work)
{
	struct chr *chr = container_of(work, struct chr, ask);
	struct chr_inlet *inlet;

	chr->refused = false;
	chr->turn = (chr->turn + 1) % INPUTS;
	for (unsigned i = 0; i < INPUTS; i++) {
		struct chr_in *in = input(chr, (chr->turn + i) % INPUTS, &inlet);

		if (in)
			chr_in_pump(in);
	}
}

void chr_rx_resume(struct chr *chr)
{
	if (chr->loop)
		loop_post(chr->loop, &chr->ask);
}

void chr_set_rx(struct chr *chr, struct chr_rx *rx)
{
	struct chr_inlet *inlet;

	chr->rx = rx;
	chr->refused = false;
	for (unsigned i = 0; i < INPUTS; i++) {
		struct chr_in *in = input(chr, i, &inlet);

		if (in)
			chr_in_set_rx(in, rx ? &inlet->rx : NULL);
	}
}

void chr_funnel_add(struct chr *chr, struct chr_in *in, struct chr_inlet *inlet)
{
	*inlet = (struct chr_inlet){.rx = {.bytes = inlet_bytes, .eof = no_eof}, .chr = chr};
	chr_in_set_rx(in, chr->rx ? &inlet->rx : NULL);
}

int chr_funnel_typed(struct chr *chr, struct chr_in **ret)
{
	if (!chr->has_typed) {
		int r = chr_in_init(&chr->typed);

		if (r < 0)
			return r;
		chr->has_typed = true;
		chr_funnel_add(chr, &chr->typed, &chr->typed_inlet);
		chr_in_start(&chr->typed, chr->loop);
	}
	*ret = &chr->typed;
	return 0;
}

int chr_type(struct chr *chr, const void *buf, size_t n)
{
	struct chr_in *typed = NULL;
	int r = chr_funnel_typed(chr, &typed);

	if (r < 0 || !typed)
		return r;
	if (n > chr_in_room(typed))
		return -ENOBUFS;
	chr_in_put(typed, buf, n);
	return 0;
}

void chr_funnel_init(struct chr *chr)
{
	chr->inlet = (struct chr_inlet){.rx = {.bytes = inlet_bytes, .eof = own_eof}, .chr = chr};
	chr->ask.run = on_ask;
}

void chr_funnel_done(struct chr *chr)
{
	if (chr->loop)
		loop_work_cancel(chr->loop, &chr->ask);
	if (chr->has_typed)
		chr_in_done(&chr->typed);
	chr->has_typed = false;
}
