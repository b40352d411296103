/* SPDX-License-Identifier: Apache-2.0 */
/* Back ends that leave, come back, are slow, lie, or break the protocol. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/fds.h"
#include "tests/unit/vhost/vhost_world.h"

#define BIT(n) (UINT64_C(1) << (n))

TestSuite(vhost_faults, .init = vhost_world_set_up, .fini = vhost_world_tear_down, .timeout = 60);

static void begin(void)
{
	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	vhost_start();
}

/* ---- leaving and coming back ---- */

Test(vhost_faults, back_end_that_comes_back_is_told_everything_again)
{
	unsigned told;

	begin();
	told = back_end.n;
	back_end_cut(&back_end);
	vhost_await(&vw.ups, 2);
	cr_assert_eq(vw.losts, 1);
	cr_assert_eq(vw.faileds, 0);
	cr_assert_eq(vw.dev->reconnects, 1);
	/* but not asked for another record of what is under way */
	cr_assert_eq(back_end.n, 2 * told - 1, "%u after %u", back_end.n, told);
	cr_assert_eq(back_end_count(&back_end, VHOST_USER_GET_INFLIGHT_FD), 1);
	cr_assert_eq(back_end_count(&back_end, VHOST_USER_SET_INFLIGHT_FD), 2);
}

Test(vhost_faults, a_thousand_times_leaves_nothing_behind)
{
	unsigned fds = 0;

	begin();
	for (unsigned i = 0; i < 1000; i++) {
		if (i == 10)
			fds = count_fds();
		back_end.n = 0;
		back_end_cut(&back_end);
		vhost_await(&vw.ups, i + 2);
	}
	cr_assert_leq(count_fds(), fds + 1);
	cr_assert_eq(vw.dev->reconnects, 1000);
}

Test(vhost_faults, ring_can_be_stopped_while_nobody_is_there)
{
	begin();
	back_end_stop(&back_end);
	vhost_await(&vw.losts, 1);
	vhost_stop(0);
	vhost_stop(1);
	vw.dev->ops->reset(vw.dev);
	back_end_start(&back_end);
	vhost_await(&vw.readies, 2);
	vhost_start();
}

static enum back_end_verdict swallow_base(struct back_end *b, int fd, struct vhost_user_message *m)
{
	(void)b;
	(void)fd;
	return m->header.request == VHOST_USER_GET_VRING_BASE ? BACK_END_HANGS_UP
							      : BACK_END_GOES_ON;
}

Test(vhost_faults, loss_while_a_ring_stops_is_told_as_that)
{
	back_end.hook = swallow_base;
	begin();
	vw.dev->ops->stop(vw.dev, 0);
	vhost_await(&vw.losts, 1);
	cr_assert_eq(vw.stoppeds[0], 0);
	cr_assert_not(vw.dev->rings[0].up);
	vhost_await(&vw.ups, 2);
	cr_assert_not(vw.dev->rings[0].up, "not wanted any more");
	cr_assert(vw.dev->rings[1].up);
}

Test(vhost_faults, fewer_features_than_the_driver_uses_are_refused_until_they_are_there)
{
	back_end.features |= BIT(5);
	begin();
	back_end_stop(&back_end);
	vhost_await(&vw.losts, 1);
	back_end.features &= ~BIT(5);
	back_end_start(&back_end);
	while (vw.dev->failures == 0)
		world_run_for(NS_PER_S / 1000);
	cr_assert_eq(vw.readies, 1);
	cr_assert_eq(vw.faileds, 0, "the guest's device only waits");
	back_end_stop(&back_end);
	back_end.features |= BIT(5);
	back_end_start(&back_end);
	vhost_await(&vw.ups, 2);
}

Test(vhost_faults, without_reconnect_one_that_has_left_stays_away)
{
	vw.setup.reconnect_ns = 0;
	begin();
	back_end_cut(&back_end);
	vhost_await(&vw.losts, 1);
	world_run_for(NS_PER_S / 20);
	cr_assert_eq(back_end.connections, 1);
	vhost_stop(0);
}

/* It leaves after each message in turn; the front end finds it again, and in the end all is up. */
static unsigned leave_after;

static enum back_end_verdict leave_once(struct back_end *b, int fd, struct vhost_user_message *m)
{
	if (b->n != leave_after)
		return BACK_END_GOES_ON;
	back_end_answer(b, fd, m);
	return BACK_END_HANGS_UP;
}

Test(vhost_faults, leaves_after_any_message)
{
	unsigned messages;

	begin();
	messages = back_end.n;
	vw.dev = vhost_dev_free(vw.dev);
	back_end.hook = leave_once;
	for (leave_after = 1; leave_after <= messages; leave_after++) {
		back_end_stop(&back_end);
		memset(&vw.readies, 0, sizeof(vw) - offsetof(struct vhost_world, readies));
		back_end.n = 0;
		back_end_start(&back_end);
		vhost_open();
		vhost_attach();
		for (unsigned i = 0; i < WORLD_RINGS; i++)
			vw.dev->rings[i].wanted = true;
		vw.dev->ops->start(vw.dev);
		/* Perhaps it leaves just after that. */
		vhost_await(&vw.ups, 1);
		while (back_end.connections < 2 || !vw.dev->rings[0].up)
			world_run_for(NS_PER_S / 1000);
		back_end.connections = 0;
		vw.dev = vhost_dev_free(vw.dev);
	}
}

/* ---- refusing and lying ---- */

struct lie {
	const char *name;
	uint32_t request; /* at which it lies, and once only */
	enum back_end_verdict (*tell)(int fd, struct vhost_user_message *m);
	const char *why;
};

static struct lie lie;
static _Atomic bool lied;

static enum back_end_verdict lie_once(struct back_end *b, int fd, struct vhost_user_message *m)
{
	(void)b;
	if (m->header.request != lie.request || lied)
		return BACK_END_GOES_ON;
	lied = true;
	return lie.tell(fd, m);
}

static enum back_end_verdict refuse(int fd, struct vhost_user_message *m)
{
	uint64_t no = 1;

	back_end_reply(fd, m->header.request, VHOST_USER_REPLY, &no, sizeof(no));
	return BACK_END_IS_DONE;
}

static enum back_end_verdict wrong_flags(int fd, struct vhost_user_message *m)
{
	uint64_t ok = 0;

	back_end_reply(fd, m->header.request, 0, &ok, sizeof(ok));
	return BACK_END_IS_DONE;
}

static enum back_end_verdict wants_reply(int fd, struct vhost_user_message *m)
{
	uint64_t ok = 0;

	back_end_reply(fd, m->header.request, VHOST_USER_REPLY | VHOST_USER_NEED_REPLY, &ok,
		       sizeof(ok));
	return BACK_END_IS_DONE;
}

static enum back_end_verdict other_version(int fd, struct vhost_user_message *m)
{
	uint64_t ok = 0;

	back_end_reply(fd, m->header.request, VHOST_USER_REPLY | 3, &ok, sizeof(ok));
	return BACK_END_IS_DONE;
}

static enum back_end_verdict other_request(int fd, struct vhost_user_message *m)
{
	uint64_t ok = 0;

	back_end_reply(fd, m->header.request + 1, VHOST_USER_REPLY, &ok, sizeof(ok));
	return BACK_END_IS_DONE;
}

static enum back_end_verdict twice(int fd, struct vhost_user_message *m)
{
	struct {
		struct vhost_user_header h;
		uint64_t ok;
	} __attribute__((packed)) one = {{m->header.request, 5, 8}, 0}, two[] = {one, one};

	(void)!write(fd, two, sizeof(two));
	return BACK_END_IS_DONE;
}

static enum back_end_verdict huge(int fd, struct vhost_user_message *m)
{
	struct vhost_user_header h = {m->header.request, 5, UINT32_MAX};

	(void)!write(fd, &h, sizeof(h));
	return BACK_END_IS_DONE;
}

static enum back_end_verdict short_one(int fd, struct vhost_user_message *m)
{
	back_end_reply(fd, m->header.request, VHOST_USER_REPLY, "1234", 4);
	return BACK_END_IS_DONE;
}

static enum back_end_verdict with_fds(int fd, struct vhost_user_message *m)
{
	uint64_t ok = 0;
	int fds[] = {0, 1};

	back_end_reply_fds(fd, m->header.request, &ok, sizeof(ok), fds, 2);
	return BACK_END_IS_DONE;
}

static enum back_end_verdict with_253_fds(int fd, struct vhost_user_message *m)
{
	uint64_t ok = 0;
	int fds[253] = {0};

	back_end_reply_fds(fd, m->header.request, &ok, sizeof(ok), fds, 253);
	return BACK_END_IS_DONE;
}

static enum back_end_verdict inflight(int fd, uint64_t size, uint64_t offset, int file)
{
	struct vhost_user_inflight area = {.mmap_size = size, .mmap_offset = offset};

	back_end_reply_fds(fd, VHOST_USER_GET_INFLIGHT_FD, &area, sizeof(area), &file, 1);
	return BACK_END_IS_DONE;
}

static enum back_end_verdict inflight_huge(int fd, struct vhost_user_message *m)
{
	int file = memfd_create("inflight", MFD_CLOEXEC);

	(void)m;
	inflight(fd, BIT(60), 0, file);
	close(file);
	return BACK_END_IS_DONE;
}

static enum back_end_verdict inflight_wraps(int fd, struct vhost_user_message *m)
{
	int file = memfd_create("inflight", MFD_CLOEXEC);

	(void)m;
	cr_assert_eq(ftruncate(file, 4096), 0);
	inflight(fd, 4096, UINT64_MAX - 4095, file);
	close(file);
	return BACK_END_IS_DONE;
}

static enum back_end_verdict inflight_pipe(int fd, struct vhost_user_message *m)
{
	int pair[2];

	(void)m;
	cr_assert_eq(pipe(pair), 0);
	inflight(fd, 4096, 0, pair[0]);
	close(pair[0]);
	close(pair[1]);
	return BACK_END_IS_DONE;
}

static enum back_end_verdict inflight_none(int fd, struct vhost_user_message *m)
{
	struct vhost_user_inflight area = {0};

	(void)m;
	back_end_reply(fd, VHOST_USER_GET_INFLIGHT_FD, VHOST_USER_REPLY, &area, sizeof(area));
	return BACK_END_IS_DONE;
}

#define REFUSES(r)                                                                                 \
	{                                                                                          \
		"refuses " #r, VHOST_USER_##r, refuse, "refuses " #r                               \
	}
/* After the start: the guest's device fails, and works again with a back end that does better. */
static const struct lie lies[] = {
	REFUSES(SET_FEATURES),
	REFUSES(ADD_MEM_REG),
	REFUSES(SET_VRING_NUM),
	REFUSES(SET_INFLIGHT_FD),
	REFUSES(SET_VRING_BASE),
	REFUSES(SET_VRING_ADDR),
	REFUSES(SET_VRING_CALL),
	REFUSES(SET_VRING_KICK),
	REFUSES(SET_VRING_ENABLE),
	{"flags without REPLY", VHOST_USER_SET_VRING_ADDR, wrong_flags, "flags that no answer has"},
	{"flags with NEED_REPLY", VHOST_USER_SET_VRING_ADDR, wants_reply,
	 "flags that no answer has"},
	{"other version", VHOST_USER_SET_VRING_ADDR, other_version, "another version"},
	{"other request", VHOST_USER_SET_VRING_ADDR, other_request,
	 "the answer to another request"},
	{"two answers", VHOST_USER_SET_VRING_ADDR, twice, "the answer to another request"},
	{"4 GiB", VHOST_USER_SET_VRING_ADDR, huge, "longer than any"},
	{"4 bytes", VHOST_USER_SET_VRING_ADDR, short_one, "of another length"},
	{"descriptors", VHOST_USER_SET_VRING_ADDR, with_fds, "descriptors that nobody asked for"},
	{"253 descriptors", VHOST_USER_SET_VRING_ADDR, with_253_fds, "more descriptors"},
	{"record of 2^60 bytes", VHOST_USER_GET_INFLIGHT_FD, inflight_huge, "larger than the file"},
	{"record that wraps", VHOST_USER_GET_INFLIGHT_FD, inflight_wraps, "larger than the file"},
	{"record in a pipe", VHOST_USER_GET_INFLIGHT_FD, inflight_pipe, "larger than the file"},
};

Test(vhost_faults, lies_once_the_guest_runs)
{
	unsigned fds = 0;

	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		lie = lies[i];
		lied = true;
		memset(&vw.readies, 0, sizeof(vw) - offsetof(struct vhost_world, readies));
		back_end.hook = lie_once;
		back_end_start(&back_end);
		vhost_open();
		vhost_attach();
		fds = count_fds();
		lied = false;
		for (unsigned ring = 0; ring < WORLD_RINGS; ring++)
			vw.dev->rings[ring].wanted = true;
		vw.dev->ops->start(vw.dev);
		vhost_await(&vw.losts, 1);
		cr_assert_eq(vw.faileds, 1, "%s", lie.name);
		cr_assert_not_null(strstr(vw.why, lie.why), "%s: %s", lie.name, vw.why);
		vw.dev->ops->stop(vw.dev, 0);
		vw.dev->ops->stop(vw.dev, 1);
		vw.dev->ops->reset(vw.dev);
		vhost_await(&vw.readies, 2);
		vhost_start();
		/* The back end's are in it, too: what it was given, at most. */
		cr_assert_leq(count_fds(), fds + 20, "%s", lie.name);
		vw.dev = vhost_dev_free(vw.dev);
		back_end_stop(&back_end);
	}
}

static enum back_end_verdict without_record(struct back_end *b, int fd,
					    struct vhost_user_message *m)
{
	(void)b;
	return m->header.request == VHOST_USER_GET_INFLIGHT_FD ? inflight_none(fd, m)
							       : BACK_END_GOES_ON;
}

Test(vhost_faults, record_that_it_does_not_have_after_all)
{
	back_end.hook = without_record;
	begin();
	cr_assert_eq(vw.dev->recovery, VHOST_RECOVERY_INDEX);
	cr_assert_eq(back_end_count(&back_end, VHOST_USER_SET_INFLIGHT_FD), 0);
	cr_assert_eq(vw.losts, 0);
}

/* Requests with answers that it never reads, while the last question is under way. */
static enum back_end_verdict flood(struct back_end *b, int fd, struct vhost_user_message *m)
{
	struct vhost_user_header h = {VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
				      VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, 0};

	(void)fd;
	if (m->header.request != VHOST_USER_GET_FEATURES || b->requests_fd < 0)
		return BACK_END_GOES_ON;
	/* More answers than the socket holds, fewer than it takes to be cut off. */
	for (unsigned i = 0; i < 1600; i++)
		(void)send(b->requests_fd, &h, sizeof(h), MSG_NOSIGNAL);
	return BACK_END_GOES_ON;
}

Test(vhost_faults, flood_of_requests_whose_answers_nobody_reads)
{
	back_end.hook = flood;
	for (unsigned i = 0; i < 10; i++) {
		back_end_start(&back_end);
		vhost_open();
		memset(&vw.readies, 0, sizeof(vw) - offsetof(struct vhost_world, readies));
		vhost_attach();
		vhost_start();
		vw.dev = vhost_dev_free(vw.dev);
		back_end_stop(&back_end);
	}
}

static enum back_end_verdict take_and_be_silent(struct back_end *b, int fd,
						struct vhost_user_message *m)
{
	(void)b;
	(void)fd;
	(void)m;
	return BACK_END_IS_DONE;
}

Test(vhost_faults, one_that_takes_the_connection_and_says_nothing_is_told_apart)
{
	back_end.hook = take_and_be_silent;
	vw.setup.wait_ns = NS_PER_S / 10;
	back_end_start(&back_end);
	vhost_open_fails();
	cr_assert_not_null(strstr(vw.err.msg, "busy with another client"), "%s", vw.err.msg);
}

/* Before: it can't be used, and the message says why. */
static const struct lie early_lies[] = {
	REFUSES(SET_OWNER),
	REFUSES(SET_BACKEND_REQ_FD),
	{"short features", VHOST_USER_GET_FEATURES, short_one, "of another length"},
	{"other answer", VHOST_USER_GET_PROTOCOL_FEATURES, other_request,
	 "the answer to another request"},
	{"queues twice", VHOST_USER_GET_QUEUE_NUM, twice, "the answer to another request"},
	{"slots of 4 GiB", VHOST_USER_GET_MAX_MEM_SLOTS, huge, "longer than any"},
};

Test(vhost_faults, lies_at_once)
{
	for (unsigned i = 0; i < sizeof(early_lies) / sizeof(early_lies[0]); i++) {
		lie = early_lies[i];
		lied = false;
		back_end.hook = lie_once;
		back_end_start(&back_end);
		vhost_open_fails();
		cr_assert_not_null(strstr(vw.err.msg, lie.why), "%s: %s", lie.name, vw.err.msg);
		vw.err = (struct err){0};
		back_end_stop(&back_end);
	}
}

Test(vhost_faults, virtio_before_1_0_is_refused)
{
	back_end.features &= ~BIT(32);
	back_end_start(&back_end);
	vhost_open_fails();
	cr_assert_not_null(strstr(vw.err.msg, "virtio 1.0"), "%s", vw.err.msg);
}

Test(vhost_faults, too_few_slots_for_the_memory_is_known_before_the_guest_runs)
{
	back_end.slots = 1;
	back_end_start(&back_end);
	vhost_open();
	vw.dev->map = &vw.map;
	cr_assert_eq(vw.dev->ops->attach(vw.dev, world_loop), -E2BIG);
}

/* ---- slow ones ---- */

static enum back_end_verdict say_nothing(struct back_end *b, int fd, struct vhost_user_message *m)
{
	(void)b;
	(void)fd;
	return m->header.request == VHOST_USER_GET_QUEUE_NUM ? BACK_END_IS_DONE : BACK_END_GOES_ON;
}

Test(vhost_faults, silence_at_the_start_is_over_after_wait)
{
	back_end.hook = say_nothing;
	vw.setup.wait_ns = NS_PER_S / 10;
	back_end_start(&back_end);
	vhost_open_fails();
}

static enum back_end_verdict byte_by_byte(struct back_end *b, int fd, struct vhost_user_message *m)
{
	int pair[2];
	char byte;

	if (m->header.request == VHOST_USER_GET_INFLIGHT_FD)
		return BACK_END_GOES_ON; /* it has a descriptor */
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	back_end_answer(b, pair[0], m);
	close(pair[0]);
	while (read(pair[1], &byte, 1) == 1)
		(void)!write(fd, &byte, 1);
	close(pair[1]);
	return BACK_END_IS_DONE;
}

Test(vhost_faults, answers_may_come_byte_by_byte)
{
	back_end.hook = byte_by_byte;
	begin();
	vhost_stop(0);
}

/* ---- positions ---- */

static enum back_end_verdict other_ring(struct back_end *b, int fd, struct vhost_user_message *m)
{
	struct vhost_user_vring_state state = {.index = 1000};

	(void)b;
	if (m->header.request != VHOST_USER_GET_VRING_BASE)
		return BACK_END_GOES_ON;
	back_end_reply(fd, m->header.request, VHOST_USER_REPLY, &state, sizeof(state));
	return BACK_END_IS_DONE;
}

Test(vhost_faults, position_of_another_ring_is_a_fault)
{
	back_end.hook = other_ring;
	begin();
	vw.dev->ops->stop(vw.dev, 0);
	vhost_await(&vw.losts, 1);
	cr_assert_eq(vw.faileds, 1);
}
