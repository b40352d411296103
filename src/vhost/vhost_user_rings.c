/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings up and down. All that a back end has to know goes out in one stream, in the order in which
 * back ends are known to want it: features, memory, the size of each ring (some count rings by
 * that), the record of what is under way, then ring by ring where it is, where it begins and its
 * two descriptors, at last "go". A question behind it tells when it has been read.
 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "vhost/vhost_user_internal.h"

#define BIT(n) (UINT64_C(1) << (n))

/* Where guest address 0 lies for the back end: not where it lies here, which is nobody's business.
 */
#define USER_ADDRESS UINT64_C(0x7000000000000)

/* ---- memory ---- */

static bool is_given(const struct mm_region *region)
{
	return region->fd >= 0 && !region->keep;
}

unsigned vhost_user_count_regions(const struct mm_map *map)
{
	unsigned n = 0;

	for (unsigned i = 0; i < map->n; i++)
		n += is_given(&map->regions[i]);
	return n;
}

static struct vhost_user_region region_of(const struct mm_region *region)
{
	return (struct vhost_user_region){.guest_address = region->gpa.v,
					  .size = region->size,
					  .user_address = USER_ADDRESS + region->gpa.v,
					  .mmap_offset = region->offset};
}

static void tell_slots(struct vhost_user *vu)
{
	const struct mm_map *map = vu->dev.map;

	for (unsigned i = 0; i < map->n; i++) {
		struct vhost_user_message m = {.payload.region.padding = 0};

		if (!is_given(&map->regions[i]))
			continue;
		m.payload.region.region = region_of(&map->regions[i]);
		vhost_user_request(&m, VHOST_USER_ADD_MEM_REG, sizeof(m.payload.region));
		m.n_fds = 1;
		m.fds[0] = map->regions[i].fd;
		vhost_user_session_tell(&vu->session, &m);
	}
}

static void tell_table(struct vhost_user *vu)
{
	struct vhost_user_message m = {.payload.memory = {.n = 0}};
	struct vhost_user_memory *table = &m.payload.memory;
	const struct mm_map *map = vu->dev.map;
	unsigned n = 0;

	for (unsigned i = 0; i < map->n && n < VHOST_USER_MAX_REGIONS; i++) {
		if (!is_given(&map->regions[i]))
			continue;
		m.fds[n] = map->regions[i].fd;
		table->regions[n++] = region_of(&map->regions[i]);
	}
	table->n = n;
	vhost_user_request(&m, VHOST_USER_SET_MEM_TABLE,
			   (uint32_t)(offsetof(struct vhost_user_memory, regions) +
				      n * sizeof(table->regions[0])));
	m.n_fds = n;
	vhost_user_session_tell(&vu->session, &m);
}

/* Features once for each driver, memory once for each connection. */
static void introduce(struct vhost_user *vu)
{
	uint64_t features = vu->dev.acked;

	if (vu->offered & BIT(VHOST_USER_F_PROTOCOL_FEATURES))
		features |= BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	if (!vu->told_features)
		vhost_user_tell_u64(vu, VHOST_USER_SET_FEATURES, features);
	if (!vu->told_memory && vhost_user_has(vu, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		tell_slots(vu);
	else if (!vu->told_memory)
		tell_table(vu);
	vu->told_features = vu->told_memory = true;
}

/* ---- one ring ---- */

static void tell_state(struct vhost_user *vu, uint32_t request, unsigned ring, uint32_t num)
{
	struct vhost_user_message m = {.payload.state = {.index = ring, .num = num}};

	vhost_user_request(&m, request, sizeof(m.payload.state));
	vhost_user_session_tell(&vu->session, &m);
}

static void tell_fd(struct vhost_user *vu, uint32_t request, unsigned ring, int fd)
{
	struct vhost_user_message m = {.payload.u64 = ring};

	vhost_user_request(&m, request, sizeof(m.payload.u64));
	if (fd >= 0) {
		m.n_fds = 1;
		m.fds[0] = fd;
	} else {
		m.payload.u64 |= VHOST_USER_VRING_NOFD;
	}
	vhost_user_session_tell(&vu->session, &m);
}

static void tell_addr(struct vhost_user *vu, unsigned ring)
{
	const struct vhost_ring *r = &vu->dev.rings[ring];
	struct vhost_user_message m = {.payload.addr = {.index = ring,
							.descriptor = USER_ADDRESS + r->desc.v,
							.available = USER_ADDRESS + r->driver.v,
							.used = USER_ADDRESS + r->device.v}};

	vhost_user_request(&m, VHOST_USER_SET_VRING_ADDR, sizeof(m.payload.addr));
	vhost_user_session_tell(&vu->session, &m);
}

static void tell_enable(struct vhost_user *vu, unsigned ring, bool enable)
{
	if (vu->offered & BIT(VHOST_USER_F_PROTOCOL_FEATURES))
		tell_state(vu, VHOST_USER_SET_VRING_ENABLE, ring, enable);
}

static bool is_due(const struct vhost_ring *r)
{
	return r->wanted && !r->up;
}

/* ---- the record of what is under way ---- */

static void drop_record(struct vhost_user_record *record)
{
	record->fd = fd_close(record->fd);
}

static void ask_record(struct vhost_user *vu)
{
	struct vhost_user_message m = {.payload.inflight = {.num_queues = (uint16_t)vu->dev.n_rings,
							    .queue_size = vu->dev.queue_size}};

	vu->record.area = m.payload.inflight;
	vu->asking_record = true;
	vhost_user_request(&m, VHOST_USER_GET_INFLIGHT_FD, sizeof(m.payload.inflight));
	vhost_user_session_ask(&vu->session, &m, sizeof(m.payload.inflight));
}

static uint64_t size_of(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

/* It can, it said, and doesn't. */
static void go_without_record(struct vhost_user *vu)
{
	vu->session.protocol &= ~BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
	vu->dev.recovery = VHOST_RECOVERY_INDEX;
	vu->dev.events->go_on(&vu->dev);
}

/* How many queues of which size is ours to say: there are back ends that answer 0. */
static void take_record(struct vhost_user *vu, struct vhost_user_message *m)
{
	const char *wrong = vhost_user_check_inflight(m, size_of(m->n_fds ? m->fds[0] : -1));

	vu->asking_record = false;
	if (m->n_fds == 0 && m->payload.inflight.mmap_size == 0) {
		go_without_record(vu);
		return;
	}
	if (wrong) {
		vhost_user_blame(vu, wrong);
		return;
	}
	vu->record.area.mmap_size = m->payload.inflight.mmap_size;
	vu->record.area.mmap_offset = m->payload.inflight.mmap_offset;
	vu->record.fd = m->fds[0];
	m->fds[0] = -1;
	vu->dev.events->go_on(&vu->dev);
}

static void tell_record(struct vhost_user *vu)
{
	struct vhost_user_message m = {.payload.inflight = vu->record.area};

	vhost_user_request(&m, VHOST_USER_SET_INFLIGHT_FD, sizeof(m.payload.inflight));
	m.n_fds = 1;
	m.fds[0] = vu->record.fd;
	vhost_user_session_tell(&vu->session, &m);
}

/* ---- up ---- */

/* Once, though the record may be asked for between this and the rest. */
static void tell_sizes(struct vhost_user *vu)
{
	for (unsigned i = 0; i < vu->dev.n_rings; i++) {
		if (!is_due(&vu->dev.rings[i]) || vu->told_sizes & BIT(i))
			continue;
		vu->told_sizes |= BIT(i);
		tell_state(vu, VHOST_USER_SET_VRING_NUM, i, vu->dev.rings[i].size);
	}
}

static void bring_up(struct vhost_user *vu, unsigned ring)
{
	struct vhost_ring *r = &vu->dev.rings[ring];

	tell_state(vu, VHOST_USER_SET_VRING_BASE, ring, r->base);
	tell_addr(vu, ring);
	tell_fd(vu, VHOST_USER_SET_VRING_CALL, ring, r->call);
	tell_fd(vu, VHOST_USER_SET_VRING_KICK, ring, r->kick);
	tell_enable(vu, ring, r->enabled);
	vu->told_sizes &= ~BIT(ring);
	r->up = true;
}

static bool any_is_due(const struct vhost_dev *d)
{
	for (unsigned i = 0; i < d->n_rings; i++)
		if (is_due(&d->rings[i]))
			return true;
	return false;
}

void vhost_user_start(struct vhost_dev *d)
{
	struct vhost_user *vu = vhost_user_of(d);
	bool exact = vhost_user_has(vu, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);

	if (vu->phase != VHOST_USER_ONLINE || vu->asking_record || !any_is_due(d))
		return;
	if (d->acked & ~d->features) {
		vhost_user_blame(vu, "it lacks features that the guest's driver uses");
		return;
	}
	introduce(vu);
	tell_sizes(vu);
	if (exact && vu->record.fd < 0) {
		ask_record(vu); /* and go on when it is there */
		return;
	}
	if (exact)
		tell_record(vu);
	for (unsigned i = 0; i < d->n_rings; i++)
		if (is_due(&d->rings[i]))
			bring_up(vu, i);
	vu->barriers++;
	vhost_user_ask_u64(vu, VHOST_USER_GET_FEATURES);
}

/* What the guest made available before may not be looked at without a kick. */
static void kick_all(const struct vhost_dev *d)
{
	for (unsigned i = 0; i < d->n_rings; i++)
		if (d->rings[i].up)
			eventfd_kick(d->rings[i].kick);
}

static void take_barrier(struct vhost_user *vu)
{
	vu->barriers--;
	if (vu->barriers > 0)
		return;
	kick_all(&vu->dev);
	vu->dev.events->up(&vu->dev);
}

/* ---- down ---- */

void vhost_user_stop(struct vhost_dev *d, unsigned ring)
{
	struct vhost_user *vu = vhost_user_of(d);
	struct vhost_user_message m = {.payload.state = {.index = ring}};

	d->rings[ring].wanted = false;
	vu->told_sizes &= ~BIT(ring);
	if (!d->rings[ring].up) {
		d->events->stopped(d, ring);
		return;
	}
	tell_enable(vu, ring, false);
	vhost_user_request(&m, VHOST_USER_GET_VRING_BASE, sizeof(m.payload.state));
	vhost_user_session_ask(&vu->session, &m, sizeof(m.payload.state));
}

static void take_base(struct vhost_user *vu, const struct vhost_user_message *m)
{
	struct vhost_dev *d = &vu->dev;
	uint32_t ring = m->payload.state.index;

	if (ring >= d->n_rings || d->rings[ring].wanted || !d->rings[ring].up) {
		vhost_user_blame(vu, "it sent the position of another ring");
		return;
	}
	d->rings[ring].up = false;
	d->rings[ring].base = m->payload.state.num;
	d->events->stopped(d, ring);
}

/* ---- the rest ---- */

void vhost_user_set_call(struct vhost_dev *d, unsigned ring)
{
	if (d->rings[ring].up)
		tell_fd(vhost_user_of(d), VHOST_USER_SET_VRING_CALL, ring, d->rings[ring].call);
}

void vhost_user_set_enabled(struct vhost_dev *d, unsigned ring)
{
	if (d->rings[ring].up)
		tell_enable(vhost_user_of(d), ring, d->rings[ring].enabled);
}

/* A driver that begins anew has nothing under way. */
void vhost_user_reset(struct vhost_dev *d)
{
	struct vhost_user *vu = vhost_user_of(d);

	drop_record(&vu->record);
	if (vu->phase == VHOST_USER_ONLINE && vu->told_features &&
	    vhost_user_has(vu, VHOST_USER_PROTOCOL_F_RESET_DEVICE))
		vhost_user_tell(vu, VHOST_USER_RESET_DEVICE);
	vu->told_features = false;
	vu->told_sizes = 0;
}

void vhost_user_ring_answer(struct vhost_user *vu, uint32_t request, struct vhost_user_message *m)
{
	if (request == VHOST_USER_GET_FEATURES)
		take_barrier(vu);
	else if (request == VHOST_USER_GET_INFLIGHT_FD)
		take_record(vu, m);
	else if (request == VHOST_USER_GET_VRING_BASE)
		take_base(vu, m);
}

void vhost_user_rings_lost(struct vhost_user *vu)
{
	for (unsigned i = 0; i < vu->dev.n_rings; i++)
		vu->dev.rings[i].up = false;
}
