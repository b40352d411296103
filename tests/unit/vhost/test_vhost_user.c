/* SPDX-License-Identifier: Apache-2.0 */
/* A back end that behaves: what it is asked, what it is told, in which order. */
#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/vhost/vhost_world.h"

#define BIT(n) (UINT64_C(1) << (n))

TestSuite(vhost_user, .init = vhost_world_set_up, .fini = vhost_world_tear_down, .timeout = 60);

static const struct back_end_entry *entry(uint32_t request, unsigned n)
{
	int at = back_end_find(&back_end, request, n);

	cr_assert_geq(at, 0, "request %u was sent fewer than %u times", request, n + 1);
	return &back_end.log[at];
}

/* The n-th of `first` came before the n-th of `second`. */
static void came_before(uint32_t first, uint32_t second, unsigned n)
{
	cr_assert_lt(back_end_find(&back_end, first, n), back_end_find(&back_end, second, n),
		     "%u before %u", first, second);
}

Test(vhost_user, only_known_protocol_features_are_acknowledged)
{
	static const uint64_t known = BIT(VHOST_USER_PROTOCOL_F_MQ) |
				      BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
				      BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |
				      BIT(VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD) |
				      BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) |
				      BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |
				      BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
	const struct back_end_entry *e;

	back_end_start(&back_end);
	vhost_open();
	e = entry(VHOST_USER_SET_PROTOCOL_FEATURES, 0);
	cr_assert_eq(e->first, known, "%lx", e->first);
	cr_assert_not(e->header.flags & VHOST_USER_NEED_REPLY, "not in force yet");
	cr_assert_eq(vw.dev->recovery, VHOST_RECOVERY_EXACT);
	cr_assert_eq(vw.dev->max_rings, BACK_END_RINGS);
	cr_assert_not(vw.dev->features & BIT(VHOST_USER_F_PROTOCOL_FEATURES));
}

Test(vhost_user, without_protocol_features_no_message_of_theirs_is_sent)
{
	back_end.features = BIT(32);
	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	vhost_start();
	for (unsigned i = 0; i < back_end.n; i++)
		cr_assert_lt(back_end.log[i].header.request, VHOST_USER_GET_PROTOCOL_FEATURES);
	cr_assert_eq(entry(VHOST_USER_SET_FEATURES, 0)->first, BIT(32));
	cr_assert_eq(entry(VHOST_USER_SET_MEM_TABLE, 0)->first, 2);
	cr_assert_eq(entry(VHOST_USER_SET_MEM_TABLE, 0)->n_fds, 2);
}

Test(vhost_user, protocol_features_may_be_none)
{
	back_end.protocol = 0;
	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	vhost_start();
	for (unsigned i = 0; i < back_end.n; i++)
		cr_assert_not(back_end.log[i].header.flags & VHOST_USER_NEED_REPLY);
	cr_assert_eq(back_end_count(&back_end, VHOST_USER_SET_VRING_ENABLE), WORLD_RINGS);
	cr_assert_eq(vw.dev->recovery, VHOST_RECOVERY_INDEX);
}

Test(vhost_user, rings_come_up_in_the_order_that_back_ends_want)
{
	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	vhost_start();
	cr_assert_eq(entry(VHOST_USER_SET_FEATURES, 0)->first, BIT(32) | BIT(30));
	came_before(VHOST_USER_SET_FEATURES, VHOST_USER_ADD_MEM_REG, 0);
	cr_assert_lt(back_end_find(&back_end, VHOST_USER_ADD_MEM_REG, 1),
		     back_end_find(&back_end, VHOST_USER_SET_VRING_NUM, 0));
	cr_assert_lt(back_end_find(&back_end, VHOST_USER_SET_VRING_NUM, WORLD_RINGS - 1),
		     back_end_find(&back_end, VHOST_USER_SET_INFLIGHT_FD, 0));
	came_before(VHOST_USER_SET_INFLIGHT_FD, VHOST_USER_SET_VRING_BASE, 0);
	for (unsigned i = 0; i < WORLD_RINGS; i++) {
		came_before(VHOST_USER_SET_VRING_BASE, VHOST_USER_SET_VRING_ADDR, i);
		came_before(VHOST_USER_SET_VRING_ADDR, VHOST_USER_SET_VRING_CALL, i);
		came_before(VHOST_USER_SET_VRING_CALL, VHOST_USER_SET_VRING_KICK, i);
		came_before(VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_ENABLE, i);
		cr_assert_eq(entry(VHOST_USER_SET_VRING_NUM, i)->first,
			     i | (uint64_t)WORLD_RING_SIZE << 32);
		cr_assert_eq(entry(VHOST_USER_SET_VRING_ENABLE, i)->first, i | BIT(32));
		cr_assert_eq(entry(VHOST_USER_SET_VRING_KICK, i)->n_fds, 1);
		cr_assert_eq(entry(VHOST_USER_SET_VRING_CALL, i)->n_fds, 1);
	}
	for (uint32_t r = VHOST_USER_SET_VRING_NUM; r <= VHOST_USER_SET_VRING_CALL; r++)
		if (r != VHOST_USER_GET_VRING_BASE)
			cr_assert_eq(back_end_count(&back_end, r), WORLD_RINGS, "%u", r);
	/* 24 bytes, though the fields end after 20 */
	cr_assert_eq(entry(VHOST_USER_SET_INFLIGHT_FD, 0)->header.size, 24);
	cr_assert_eq(entry(VHOST_USER_SET_INFLIGHT_FD, 0)->n_fds, 1);
}

Test(vhost_user, every_setting_asks_for_an_answer)
{
	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	vhost_start();
	for (unsigned i = 0; i < back_end.n; i++) {
		uint32_t r = back_end.log[i].header.request;
		bool sets = r != VHOST_USER_SET_PROTOCOL_FEATURES && r != VHOST_USER_GET_FEATURES &&
			    r != VHOST_USER_GET_PROTOCOL_FEATURES &&
			    r != VHOST_USER_GET_QUEUE_NUM && r != VHOST_USER_GET_MAX_MEM_SLOTS &&
			    r != VHOST_USER_GET_INFLIGHT_FD;

		cr_assert_eq(!!(back_end.log[i].header.flags & VHOST_USER_NEED_REPLY), sets, "%u",
			     r);
	}
}

Test(vhost_user, memory_is_the_guests_at_addresses_that_are_not_ours)
{
	uint64_t text = 0x6f6c6c6568, seen = 0;
	struct vhost_user_region low, high;

	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	memcpy((char *)vw.map.regions[1].host + 0x1234, &text, sizeof(text));
	vhost_start();
	low = (struct vhost_user_region){.guest_address = entry(VHOST_USER_ADD_MEM_REG, 0)->second};
	high = (struct vhost_user_region){.guest_address =
						  entry(VHOST_USER_ADD_MEM_REG, 1)->second};
	cr_assert_eq(low.guest_address, 0);
	cr_assert_eq(high.guest_address, WORLD_HIGH);
	cr_assert_eq(entry(VHOST_USER_ADD_MEM_REG, 0)->n_fds, 1);
	cr_assert_eq(pread(back_end.memory_fd, &seen, sizeof(seen), 0x1234), sizeof(seen));
	cr_assert_eq(seen, text);
	/* SET_VRING_ADDR: flags and index, then the descriptors */
	cr_assert_eq(entry(VHOST_USER_SET_VRING_ADDR, 1)->second & UINT32_MAX, 0x11000);
	cr_assert_neq(entry(VHOST_USER_SET_VRING_ADDR, 1)->second,
		      (uint64_t)(uintptr_t)vw.map.regions[0].host + 0x11000);
}

static bool kicked(unsigned ring)
{
	struct pollfd p = {back_end.kick[ring], POLLIN, 0};

	return poll(&p, 1, 0) == 1;
}

Test(vhost_user, what_waited_before_is_kicked)
{
	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	vhost_start();
	for (unsigned i = 0; i < WORLD_RINGS; i++)
		cr_assert(kicked(i));
}

Test(vhost_user, ring_stops_where_the_back_end_has_come_to)
{
	back_end.base[1] = 77;
	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	vhost_start();
	vhost_stop(1);
	cr_assert_eq(vw.dev->rings[1].base, 77);
	cr_assert(vw.dev->rings[0].up);
	cr_assert_eq(entry(VHOST_USER_SET_VRING_ENABLE, WORLD_RINGS)->first, 1);
	cr_assert_lt(back_end_find(&back_end, VHOST_USER_SET_VRING_ENABLE, WORLD_RINGS),
		     back_end_find(&back_end, VHOST_USER_GET_VRING_BASE, 0));
	/* and goes on from there */
	vhost_start();
	cr_assert_eq(entry(VHOST_USER_SET_VRING_BASE, WORLD_RINGS)->first, 1 | (uint64_t)77 << 32);
	cr_assert_eq(back_end_count(&back_end, VHOST_USER_SET_FEATURES), 1);
	cr_assert_eq(back_end_count(&back_end, VHOST_USER_ADD_MEM_REG), 2);
}

Test(vhost_user, driver_that_begins_anew_is_told_once_and_memory_stays)
{
	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	vhost_start();
	for (unsigned i = 0; i < WORLD_RINGS; i++)
		vhost_stop(i);
	vw.dev->ops->reset(vw.dev);
	vw.dev->ops->reset(vw.dev);
	vhost_start();
	cr_assert_eq(back_end_count(&back_end, VHOST_USER_RESET_DEVICE), 1);
	cr_assert_eq(back_end_count(&back_end, VHOST_USER_SET_FEATURES), 2);
	cr_assert_eq(back_end_count(&back_end, VHOST_USER_GET_INFLIGHT_FD), 2);
	cr_assert_eq(back_end_count(&back_end, VHOST_USER_ADD_MEM_REG), 2);
	cr_assert_eq(back_end.connections, 1);
}

Test(vhost_user, new_interrupt_goes_to_a_running_ring)
{
	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	vhost_start();
	vw.dev->rings[0].call = -1;
	vw.dev->ops->set_call(vw.dev, 0);
	vhost_stop(1);
	cr_assert_eq(entry(VHOST_USER_SET_VRING_CALL, WORLD_RINGS)->first, VHOST_USER_VRING_NOFD);
	vw.dev->ops->set_call(vw.dev, 1);
	vhost_stop(0);
	cr_assert_eq(back_end_count(&back_end, VHOST_USER_SET_VRING_CALL), WORLD_RINGS + 1);
}

/* ---- the configuration ---- */

static const uint16_t sizes[] = {72, 60, 0};

Test(vhost_user, configuration_is_as_long_as_the_back_end_has_it)
{
	back_end.config_len = 60;
	memcpy(back_end.config, "capacity", 8);
	vw.setup.config_sizes = sizes;
	back_end_start(&back_end);
	vhost_open();
	cr_assert_eq(vw.dev->config_len, 60);
	cr_assert_arr_eq(vw.dev->config, "capacity", 8);
}

Test(vhost_user, configuration_of_no_length_that_was_asked_for_is_none)
{
	back_end.config_len = 59;
	vw.setup.config_sizes = sizes;
	back_end_start(&back_end);
	vhost_open();
	cr_assert_eq(vw.dev->config_len, 0);
}

Test(vhost_user, change_of_the_configuration_is_acknowledged_first_and_then_read)
{
	uint64_t result = 1;

	back_end.config_len = 60;
	vw.setup.config_sizes = sizes;
	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	back_end.config[0] = 42;
	back_end_reply(back_end.requests_fd, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
		       VHOST_USER_NEED_REPLY, NULL, 0);
	vhost_await(&vw.configs, 1);
	cr_assert_eq(vw.dev->config[0], 42);
	cr_assert_eq(lseek(back_end.requests_fd, 0, SEEK_CUR), -1); /* a socket */
	{
		struct vhost_user_header h;

		cr_assert_eq(read(back_end.requests_fd, &h, sizeof(h)), sizeof(h));
		cr_assert_eq(h.request, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
		cr_assert_eq(h.flags, VHOST_USER_VERSION | VHOST_USER_REPLY);
		cr_assert_eq(read(back_end.requests_fd, &result, sizeof(result)), sizeof(result));
		cr_assert_eq(result, 0);
	}
}

Test(vhost_user, flood_of_changes_is_one_question_at_a_time)
{
	enum { FLOOD = 1000 };

	back_end.config_len = 60;
	vw.setup.config_sizes = sizes;
	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	for (unsigned i = 0; i < FLOOD; i++)
		back_end_reply(back_end.requests_fd, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0, NULL,
			       0);
	vhost_await(&vw.configs, 2);
	vhost_start();
	cr_assert_lt(back_end_count(&back_end, VHOST_USER_GET_CONFIG), FLOOD / 4);
}

Test(vhost_user, unknown_request_is_refused_and_the_channel_stays)
{
	uint64_t answer[3];
	uint32_t request = 99;

	back_end.config_len = 60;
	vw.setup.config_sizes = sizes;
	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	back_end_reply(back_end.requests_fd, request, VHOST_USER_NEED_REPLY, NULL, 0);
	back_end_reply(back_end.requests_fd, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0, NULL, 0);
	vhost_await(&vw.configs, 1);
	cr_assert_eq(read(back_end.requests_fd, answer, 20), 20);
	cr_assert_neq(((uint8_t *)answer)[12], 0, "refused");
}

Test(vhost_user, what_the_driver_writes_is_passed_on_and_read_back)
{
	back_end.config_len = 60;
	vw.setup.config_sizes = sizes;
	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	vw.dev->ops->set_config(vw.dev, 32, "\1", 1);
	vhost_await(&vw.configs, 1);
	cr_assert_eq(entry(VHOST_USER_SET_CONFIG, 0)->first, 32 | (uint64_t)1 << 32);
	cr_assert_eq(entry(VHOST_USER_SET_CONFIG, 0)->header.size, 13);
}

/* ---- finding each other ---- */

Test(vhost_user, nobody_there_is_an_error_that_says_so)
{
	vw.setup.wait_ns = NS_PER_S / 20;
	vhost_open_fails();
	cr_assert_not_null(strstr(vw.err.msg, "there is no such socket"), "%s", vw.err.msg);
	cr_assert_not_null(strstr(vw.err.msg, vw.path), "%s", vw.err.msg);
	cr_assert_not_null(strstr(vw.err.msg, "wait="), "%s", vw.err.msg);
}

Test(vhost_user, nobody_who_connects_is_an_error_that_says_so)
{
	vw.setup.wait_ns = NS_PER_S / 20;
	vw.setup.server = true;
	vhost_open_fails();
	cr_assert_not_null(strstr(vw.err.msg, "no back end has connected"), "%s", vw.err.msg);
}

Test(vhost_user, path_that_is_too_long_is_an_error_that_says_so)
{
	static char path[200];

	memset(path, 'x', sizeof(path) - 1);
	vw.setup.path = path;
	vw.setup.wait_ns = NS_PER_S / 20;
	vhost_open_fails();
	cr_assert_not_null(strstr(vw.err.msg, "too long"), "%s", vw.err.msg);
}

Test(vhost_user, server_waits_for_a_back_end_that_dials)
{
	back_end.client = true;
	vw.setup.server = true;
	back_end_start(&back_end);
	vhost_open();
	vhost_attach();
	vhost_start();
	back_end_cut(&back_end);
	vhost_await(&vw.readies, 2);
	cr_assert_eq(back_end.connections, 2);
}
