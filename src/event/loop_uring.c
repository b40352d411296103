/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring engine. A turn is one io_uring_enter: it submits the polls to be armed and the
 * requests to files that came up in the turn before, and waits.
 *
 * File descriptors are polls on registered files. A level-triggered one is one shot, armed anew at
 * the end of the turn in which it fired; an edge-triggered eventfd is one multishot poll that
 * stays. Each source has a slot, whose number is that of its registered file too. Completions carry
 * the slot's number and generation, never an address, so that one that comes late reaches nobody.
 *
 * add, mod and del only write down what is wanted; settle() makes it so before the next submit. So
 * objects may be taken apart by another thread once the loop's own has ended: it submits nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "base/checked.h"
#include "base/fd.h"
#include "event/loop_internal.h"
#include "event/uring_setup.h"

enum {
	MAX_SLOTS = 2048,
	DEFAULT_DEPTH = 128,
	RENEW_AFTER = 64,
	WAKE_SLOT = 0,
	NO_SLOT = UINT16_MAX
};

/* What user_data means: the address of a struct loop_io (its low bits are 0), or one of these in
 * the low bits; of a poll, the slot and its generation above. */
enum { TAG_REQUEST, TAG_POLL, TAG_REMOVAL, TAG_MASK };

enum slot_state {
	SLOT_FREE,
	SLOT_FILE,   /* of loop_add_file() */
	SLOT_SOURCE, /* has a loop_fd, or is the wake eventfd */
	SLOT_DYING,  /* removed, and the kernel is not told yet */
};

struct slot {
	struct loop_fd *source; /* NULL for all but SLOT_SOURCE, and for the wake eventfd */
	int fd;
	uint32_t wanted;     /* epoll mask */
	uint32_t armed;	     /* mask of the poll under way; 0: none */
	uint32_t generation; /* of the poll under way, or the next */
	uint16_t next;	     /* in the list of free ones, or of those to be settled */
	uint8_t state;
	bool unsettled; /* in that list */
	bool stale;	/* the poll under way is not the one that is wanted */
};

struct loop_uring {
	struct loop loop;
	struct io_uring ring;
	bool has_ring, enabled;
	bool congested; /* the kernel takes no more just now: don't sleep */
	int check_fd;	/* an epoll instance: what it refuses can't be polled */
	unsigned depth, under_way;

	struct slot *slots;
	unsigned n_slots, n_used; /* n_used: those above have never been taken */
	unsigned n_removed;	  /* files since the polls were last renewed */
	uint16_t free_slot;
	uint16_t unsettled, *unsettled_end; /* first come, first armed */
};

static struct loop_uring *uring_of(struct loop *loop)
{
	return container_of(loop, struct loop_uring, loop);
}

struct io_uring *loop_uring_ring(struct loop *loop)
{
	return &uring_of(loop)->ring;
}

/* ---- submission entries ---- */

/* When the ring is full, what it has is submitted. NULL: not now, in the next turn. */
static struct io_uring_sqe *get_sqe(struct loop_uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (!sqe && io_uring_submit(&u->ring) > 0)
		sqe = io_uring_get_sqe(&u->ring);
	u->congested |= !sqe;
	return sqe;
}

static uint64_t poll_data(const struct loop_uring *u, const struct slot *slot)
{
	return (uint64_t)slot->generation << 32 | (uint64_t)(slot - u->slots) << 2 | TAG_POLL;
}

/* ---- slots ---- */

static void settle_later(struct loop_uring *u, struct slot *slot)
{
	if (slot->unsettled)
		return;
	slot->unsettled = true;
	slot->next = NO_SLOT;
	*u->unsettled_end = (uint16_t)(slot - u->slots);
	u->unsettled_end = &slot->next;
}

static bool remove_poll(struct loop_uring *u, struct slot *slot)
{
	struct io_uring_sqe *sqe = get_sqe(u);

	if (!sqe)
		return false;
	io_uring_prep_poll_remove(sqe, poll_data(u, slot));
	sqe->flags |= IOSQE_FIXED_FILE; /* has no file, but the ring's restriction wants it */
	sqe->user_data = TAG_REMOVAL;
	slot->armed = 0;
	slot->generation++;
	return true;
}

static bool arm_poll(struct loop_uring *u, struct slot *slot)
{
	struct io_uring_sqe *sqe = get_sqe(u);
	unsigned mask = slot->wanted & ~(uint32_t)EPOLLET;

	if (!sqe)
		return false;
	io_uring_prep_poll_add(sqe, (int)(slot - u->slots), mask);
	if (slot->wanted & EPOLLET)
		sqe->len = IORING_POLL_ADD_MULTI;
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = poll_data(u, slot);
	slot->armed = slot->wanted;
	return true;
}

static void free_slot(struct loop_uring *u, struct slot *slot)
{
	int none = -1;

	(void)io_uring_register_files_update(&u->ring, (unsigned)(slot - u->slots), &none, 1);
	u->n_removed++;
	slot->state = SLOT_FREE;
	slot->next = u->free_slot;
	u->free_slot = (uint16_t)(slot - u->slots);
}

/* False when the ring took no more: to be called again. */
static bool settle_one(struct loop_uring *u, struct slot *slot)
{
	bool dying = slot->state == SLOT_DYING;

	if (slot->armed && (slot->stale || dying) && !remove_poll(u, slot))
		return false;
	if (!dying && !slot->armed && !arm_poll(u, slot))
		return false;
	slot->stale = false;
	return true;
}

/*
 * Linux up to 6.12 lets go of a removed file only when all requests are done that were begun before
 * it was removed, and a poll may never be. So now and then all of them begin anew.
 */
static void renew_polls(struct loop_uring *u)
{
	u->n_removed = 0;
	for (unsigned i = 0; i < u->n_used; i++) {
		struct slot *slot = &u->slots[i];

		if (slot->state != SLOT_SOURCE || !slot->armed)
			continue;
		slot->stale = true;
		settle_later(u, slot);
	}
}

static void settle(struct loop_uring *u)
{
	while (u->unsettled != NO_SLOT) {
		struct slot *slot = &u->slots[u->unsettled];

		if (!settle_one(u, slot))
			return;
		u->unsettled = slot->next;
		if (slot->next == NO_SLOT)
			u->unsettled_end = &u->unsettled;
		slot->unsettled = false;
		if (slot->state == SLOT_DYING)
			free_slot(u, slot);
		if (u->unsettled == NO_SLOT && u->n_removed >= RENEW_AFTER)
			renew_polls(u);
	}
}

static struct slot *take_free_slot(struct loop_uring *u)
{
	struct slot *slot;

	if (u->free_slot == NO_SLOT && u->n_used < u->n_slots)
		return &u->slots[u->n_used++];
	if (u->free_slot == NO_SLOT)
		settle(u); /* some may be dying */
	if (u->free_slot == NO_SLOT)
		return NULL;
	slot = &u->slots[u->free_slot];
	u->free_slot = slot->next;
	return slot;
}

/* 0 or -errno: registers the file. */
static int take_slot(struct loop_uring *u, int fd, enum slot_state state, struct slot **ret)
{
	struct slot *slot = take_free_slot(u);
	int r;

	if (!slot)
		return -ENOSPC;
	r = io_uring_register_files_update(&u->ring, (unsigned)(slot - u->slots), &fd, 1);
	if (r != 1) {
		free_slot(u, slot);
		return r < 0 ? r : -EBADF;
	}
	slot->source = NULL;
	slot->fd = fd;
	slot->state = (uint8_t)state;
	slot->stale = false;
	*ret = slot;
	return 0;
}

/* ---- file descriptors and files ---- */

static void want(struct loop_uring *u, struct slot *slot, uint32_t events)
{
	slot->wanted = events | EPOLLERR | EPOLLHUP;
	/* A level-triggered poll that asks for more may stay: what it says is masked. */
	slot->stale = (slot->wanted & ~slot->armed) || ((slot->wanted | slot->armed) & EPOLLET);
	settle_later(u, slot);
}

/* As epoll_ctl(2) would answer. */
static int check_pollable(struct loop_uring *u, int fd)
{
	struct epoll_event nothing = {0};

	if (epoll_ctl(u->check_fd, EPOLL_CTL_ADD, fd, &nothing) < 0)
		return -errno;
	return epoll_ctl(u->check_fd, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0;
}

static int add_fd(struct loop *loop, struct loop_fd *source, uint32_t events)
{
	struct loop_uring *u = uring_of(loop);
	struct slot *slot;
	int r;

	if (source->added)
		return -EEXIST;
	r = check_pollable(u, source->fd);
	if (r == 0)
		r = take_slot(u, source->fd, SLOT_SOURCE, &slot);
	if (r < 0)
		return r;
	slot->source = source;
	source->slot = (uint32_t)(slot - u->slots);
	want(u, slot, events);
	return 0;
}

static int mod_fd(struct loop *loop, struct loop_fd *source, uint32_t events)
{
	struct loop_uring *u = uring_of(loop);

	if (!source->added)
		return -ENOENT;
	want(u, &u->slots[source->slot], events);
	return 0;
}

static void del_fd(struct loop *loop, struct loop_fd *source)
{
	struct loop_uring *u = uring_of(loop);
	struct slot *slot = &u->slots[source->slot];

	slot->source = NULL;
	slot->state = SLOT_DYING;
	settle_later(u, slot);
}

static int add_file(struct loop *loop, int fd)
{
	struct loop_uring *u = uring_of(loop);
	struct slot *slot;
	int r = fd < 0 ? -EBADF : take_slot(u, fd, SLOT_FILE, &slot);

	return r < 0 ? r : (int)(slot - u->slots);
}

/* ---- requests to files ---- */

/* Of one piece, the kernel has no iovec to copy and check. */
static void prepare_move(struct io_uring_sqe *sqe, const struct loop_io *io)
{
	const struct iovec *one = io->n_iov == 1 && io->iov->iov_len <= UINT32_MAX ? io->iov : NULL;
	bool read = io->op == LOOP_IO_READV;

	if (one && read)
		io_uring_prep_read(sqe, io->file, one->iov_base, (unsigned)one->iov_len,
				   io->offset);
	else if (one)
		io_uring_prep_write(sqe, io->file, one->iov_base, (unsigned)one->iov_len,
				    io->offset);
	else if (read)
		io_uring_prep_readv(sqe, io->file, io->iov, io->n_iov, io->offset);
	else
		io_uring_prep_writev(sqe, io->file, io->iov, io->n_iov, io->offset);
}

static void prepare(struct io_uring_sqe *sqe, const struct loop_io *io)
{
	switch (io->op) {
	case LOOP_IO_READV:
	case LOOP_IO_WRITEV:
		prepare_move(sqe, io);
		break;
	case LOOP_IO_FDATASYNC:
		io_uring_prep_fsync(sqe, io->file, IORING_FSYNC_DATASYNC);
		break;
	case LOOP_IO_FALLOCATE:
		io_uring_prep_fallocate(sqe, io->file, io->mode, (off_t)io->offset, (off_t)io->len);
		break;
	}
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = (uintptr_t)io;
}

/* Those beyond the depth stay in the queue until others are done. */
static void submit_requests(struct loop_uring *u)
{
	const struct loop_io *io;

	while ((io = u->loop.requests.first) && u->under_way < u->depth) {
		struct io_uring_sqe *sqe = get_sqe(u);

		if (!sqe)
			return;
		prepare(sqe, io);
		(void)loop_next_request(&u->loop);
		u->under_way++;
	}
}

/*
 * -EAGAIN: the file is open with O_NONBLOCK and its file system can't say beforehand whether it
 * would block. Asked again, the kernel would say the same: the loop has to wait for it.
 */
static void request_done(struct loop_uring *u, struct loop_io *io, int result)
{
	u->under_way--;
	if (result == -EAGAIN || result == -EINTR)
		result = loop_file_do(io, u->slots[io->file].fd);
	io->done(io, result);
}

/* ---- the turn ---- */

static void poll_done(struct loop_uring *u, uint64_t data, int result, bool more)
{
	struct slot *slot = &u->slots[(uint32_t)data >> 2];
	uint32_t events;

	if (slot->generation != data >> 32)
		return; /* removed, or replaced by one with another mask */
	if (!more) {
		slot->armed = 0;
		settle_later(u, slot);
	}
	if (slot == &u->slots[WAKE_SLOT]) {
		loop_run_posted(&u->loop);
		return;
	}
	if (slot->state != SLOT_SOURCE)
		return;
	events = result < 0 ? EPOLLERR : (uint32_t)result & slot->wanted;
	if (events)
		slot->source->ready(slot->source, events);
}

static void completed(struct loop_uring *u, uint64_t data, int result, uint32_t flags)
{
	switch (data & TAG_MASK) {
	case TAG_REQUEST:
		request_done(u, (struct loop_io *)(uintptr_t)data, result);
		break;
	case TAG_POLL:
		poll_done(u, data, result, flags & IORING_CQE_F_MORE);
		break;
	default:
		break;
	}
}

/* Those that are there now; what comes meanwhile is for the next turn. */
static int dispatch(struct loop_uring *u)
{
	struct io_uring_cq *cq = &u->ring.cq;
	unsigned n = io_uring_cq_ready(&u->ring);

	for (unsigned i = 0; i < n; i++) {
		const struct io_uring_cqe *cqe = &cq->cqes[*cq->khead & cq->ring_mask];
		uint64_t data = cqe->user_data;
		int result = cqe->res;
		uint32_t flags = cqe->flags;

		io_uring_cq_advance(&u->ring, 1);
		completed(u, data, result, flags);
	}
	return (int)n;
}

/* Whether the kernel has completions that it shows only when it is entered. */
static bool must_enter(const struct loop_uring *u)
{
	const unsigned hints = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;

	return io_uring_sq_ready(&u->ring) || !(u->ring.flags & IORING_SETUP_TASKRUN_FLAG) ||
	       __atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED) & hints;
}

static int enter(struct loop_uring *u, const struct timespec *timeout)
{
	struct io_uring_cqe *first;
	struct __kernel_timespec ts = {0};

	if (u->congested || loop_is_poll_only(timeout))
		return must_enter(u) ? io_uring_submit_and_get_events(&u->ring) : 0;
	if (timeout)
		ts = (struct __kernel_timespec){timeout->tv_sec, timeout->tv_nsec};
	return io_uring_submit_and_wait_timeout(&u->ring, &first, 1, timeout ? &ts : NULL, NULL);
}

/* What only says that the wait is over, or that the kernel takes no more before completions are
 * fetched. */
static bool is_harmless(int error)
{
	return error == -ETIME || error == -EINTR || error == -EAGAIN || error == -EBUSY;
}

static int turn(struct loop *loop, const struct timespec *timeout)
{
	struct loop_uring *u = uring_of(loop);
	int r;

	u->congested = false;
	settle(u);
	submit_requests(u);
	r = enter(u, timeout);
	if (r < 0 && !is_harmless(r))
		return r;
	return dispatch(u);
}

static bool finish(struct loop *loop)
{
	(void)loop;
	return false;
}

/* The thread that enables the ring is the only one that may submit from then on. */
static int begin(struct loop *loop)
{
	struct loop_uring *u = uring_of(loop);
	int r;

	if (u->enabled)
		return 0;
	r = uring_enable(&u->ring);
	u->enabled = r == 0;
	return r;
}

/* ---- making and freeing ---- */

static void free_loop(struct loop *loop)
{
	struct loop_uring *u = uring_of(loop);

	if (u->has_ring)
		io_uring_queue_exit(&u->ring);
	(void)fd_close(u->check_fd);
	loop_done(loop);
	free(u->slots);
	free(u);
}

static const struct loop_ops uring_ops = {
	.begin = begin,
	.add_fd = add_fd,
	.mod_fd = mod_fd,
	.del_fd = del_fd,
	.add_file = add_file,
	.turn = turn,
	.finish = finish,
	.free = free_loop,
};

/* As many as this process may have open: the kernel refuses a larger table. */
static unsigned count_slots(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return MAX_SLOTS;
	return (unsigned)MIN(files.rlim_cur, (rlim_t)MAX_SLOTS);
}

static int init_common(struct loop_uring *u, const struct loop_opts *opts)
{
	int r = loop_init(&u->loop, &uring_ops, opts);

	if (r < 0)
		return r;
	u->check_fd = epoll_create1(EPOLL_CLOEXEC);
	if (u->check_fd < 0)
		return -errno;
	u->depth = opts->depth ? opts->depth : DEFAULT_DEPTH;
	u->n_slots = count_slots();
	u->free_slot = u->unsettled = NO_SLOT;
	u->unsettled_end = &u->unsettled;
	u->slots = calloc(u->n_slots, sizeof(*u->slots));
	return u->slots ? 0 : -ENOMEM;
}

static int watch_wake_fd(struct loop_uring *u)
{
	struct slot *slot;
	int r = take_slot(u, u->loop.wake_fd, SLOT_SOURCE, &slot);

	if (r == 0)
		want(u, slot, EPOLLIN | EPOLLET);
	return r;
}

static int init(struct loop_uring *u, const struct loop_opts *opts, struct err *err)
{
	int r = init_common(u, opts);
	struct uring_setup setup = {
		.depth = u->depth, .n_files = u->n_slots, .polled = opts->poll_ns != 0};

	if (r == 0) {
		r = uring_setup(&setup, &u->ring, err);
		u->has_ring = r == 0;
	}
	if (r == 0)
		r = watch_wake_fd(u);
	return r < 0 ? err_set(err, r, "can't make an event loop: %s", strerror(-r)) : 0;
}

int loop_uring_new(const struct loop_opts *opts, struct loop **ret, struct err *err)
{
	struct loop_uring *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return err_set(err, -ENOMEM, "out of memory");
	u->check_fd = -1;
	r = init(u, opts, err);
	if (r < 0) {
		free_loop(&u->loop);
		return r;
	}
	*ret = &u->loop;
	return 0;
}

/* A ring of its own, tried out: a filter may let the first of the three system calls through and
 * refuse the others. */
int loop_probe_uring(struct err *err)
{
	static const struct loop_opts small = {.engine = LOOP_URING, .depth = 1};
	static const struct timespec now = {0};
	struct loop *loop;
	int r = loop_uring_new(&small, &loop, err);

	if (r < 0)
		return r;
	r = begin(loop);
	if (r == 0)
		r = turn(loop, &now);
	loop = loop_free(loop);
	return r < 0 ? uring_explain(r, err) : 0;
}
