/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fakes/wires.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "base/fd.h"

static uint64_t drain(int fd)
{
	eventfd_t count = 0;

	return eventfd_read(fd, &count) == 0 ? count : 0;
}

static bool readable(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1;
}

/* ---- MSI ---- */

static struct fake_msi *fake_msi(struct msi_route *route)
{
	return container_of(route, struct fake_msi, route);
}

/* What was written up to now has gone to the guest. */
static void msi_mask(struct msi_route *route)
{
	struct fake_msi *m = fake_msi(route);

	if (m->unmasked)
		m->delivered += drain(route->fd);
	m->unmasked = false;
	m->masks++;
}

static int msi_unmask(struct msi_route *route, uint64_t address, uint32_t data)
{
	struct fake_msi *m = fake_msi(route);

	if (m->wires->refuse_unmask) {
		msi_mask(route);
		return -EINVAL;
	}
	if (!m->unmasked && drain(route->fd) > 0)
		m->delivered++;
	m->unmasked = true;
	m->unmasks++;
	m->address = address;
	m->data = data;
	return 0;
}

static bool msi_pending(struct msi_route *route)
{
	return !fake_msi(route)->unmasked && readable(route->fd, 0);
}

static void msi_clear(struct msi_route *route)
{
	msi_mask(route);
	(void)drain(route->fd);
	fake_msi(route)->clears++;
}

static const struct msi_route_ops msi_ops = {
	.unmask = msi_unmask, .mask = msi_mask, .pending = msi_pending, .clear = msi_clear};

static int make_msi(struct wire_maker *maker, struct msi_route **ret)
{
	struct fake_wires *w = container_of(maker, struct fake_wires, maker);
	struct fake_msi *m = &w->msi[w->n_msis];
	int fd;

	if (w->n_msis == w->most_msis)
		return -ENOSPC;
	fd = eventfd_new();
	if (fd < 0)
		return fd;
	*m = (struct fake_msi){.route = {.ops = &msi_ops, .fd = fd}, .wires = w};
	w->n_msis++;
	*ret = &m->route;
	return 0;
}

uint64_t fake_msi_take(struct fake_msi *msi)
{
	uint64_t n = msi->delivered;

	if (msi->unmasked)
		n += drain(msi->route.fd);
	msi->delivered = 0;
	return n;
}

bool fake_msi_await(struct fake_msi *msi)
{
	if (msi->delivered == 0 && msi->unmasked)
		(void)readable(msi->route.fd, FAKE_WIRES_PATIENCE_MS);
	return fake_msi_take(msi) > 0;
}

/* ---- doorbells ---- */

static void bell_detach(struct doorbell *bell)
{
	struct fake_doorbell *b = container_of(bell, struct fake_doorbell, bell);

	b->attached = false;
	b->detaches++;
}

static int bell_attach(struct doorbell *bell, uint64_t address, unsigned size, bool match,
		       uint64_t value)
{
	struct fake_doorbell *b = container_of(bell, struct fake_doorbell, bell);

	b->attached = false;
	if (b->wires->refuse_attach)
		return -ENOSPC;
	b->attached = true;
	b->address = address;
	b->size = size;
	b->match = match;
	b->value = value;
	b->attaches++;
	return 0;
}

static const struct doorbell_ops bell_ops = {.attach = bell_attach, .detach = bell_detach};

static int make_doorbell(struct wire_maker *maker, struct doorbell **ret)
{
	struct fake_wires *w = container_of(maker, struct fake_wires, maker);
	struct fake_doorbell *b = &w->bell[w->n_bells];
	int fd;

	if (w->n_bells == w->most_bells)
		return -ENOSPC;
	fd = eventfd_new();
	if (fd < 0)
		return fd;
	*b = (struct fake_doorbell){.bell = {.ops = &bell_ops, .fd = fd}, .wires = w};
	w->n_bells++;
	*ret = &b->bell;
	return 0;
}

bool fake_wires_write(struct fake_wires *wires, uint64_t address, unsigned size, uint64_t value)
{
	bool rang = false;

	for (unsigned i = 0; i < wires->n_bells; i++) {
		struct fake_doorbell *b = &wires->bell[i];

		if (!b->attached || b->address != address || (b->size && b->size != size) ||
		    (b->match && b->value != value))
			continue;
		eventfd_kick(b->bell.fd);
		rang = true;
	}
	return rang;
}

uint64_t fake_doorbell_take(struct fake_doorbell *bell)
{
	return drain(bell->bell.fd);
}

/* ---- edges ---- */

static int make_edge(struct wire_maker *maker, unsigned gsi, int *ret_fd)
{
	struct fake_wires *w = container_of(maker, struct fake_wires, maker);
	int fd;

	if (w->n_edges == w->most_edges)
		return -ENOSPC;
	fd = eventfd_new();
	if (fd < 0)
		return fd;
	w->edge[w->n_edges++] = (struct fake_edge){.fd = fd, .gsi = gsi};
	*ret_fd = fd;
	return 0;
}

uint64_t fake_edge_take(struct fake_edge *edge)
{
	return drain(edge->fd);
}

bool fake_edge_await(struct fake_edge *edge)
{
	return readable(edge->fd, FAKE_WIRES_PATIENCE_MS) && drain(edge->fd) > 0;
}

/* ---- the maker ---- */

static const struct wire_maker_ops maker_ops = {
	.msi = make_msi, .doorbell = make_doorbell, .edge = make_edge};

void fake_wires_init(struct fake_wires *wires)
{
	*wires = (struct fake_wires){
		.maker = {.ops = &maker_ops},
		.most_msis = FAKE_MSIS,
		.most_bells = FAKE_DOORBELLS,
		.most_edges = FAKE_EDGES,
	};
}

void fake_wires_done(struct fake_wires *wires)
{
	for (unsigned i = 0; i < wires->n_msis; i++)
		(void)fd_close(wires->msi[i].route.fd);
	for (unsigned i = 0; i < wires->n_bells; i++)
		(void)fd_close(wires->bell[i].bell.fd);
	for (unsigned i = 0; i < wires->n_edges; i++)
		(void)fd_close(wires->edge[i].fd);
	wires->n_msis = wires->n_bells = wires->n_edges = 0;
}
