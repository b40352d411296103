/* SPDX-License-Identifier: Apache-2.0 */
#include "chr_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

static struct receiver r;
static struct chr *chr;

static void set_up(void)
{
	world_set_up();
	receiver_init(&r);
	chr = world_start("none", &r.rx);
}

static void tear_down(void)
{
	chr = chr_free(chr);
	world_tear_down();
}

TestSuite(chr_funnel, .init = set_up, .fini = tear_down, .timeout = 60);

static void type(const char *text)
{
	cr_assert_eq(chr_type(chr, text, strlen(text)), 0);
}

static void assert_received(const char *text)
{
	receiver_wait_bytes(&r, strlen(text));
	cr_assert_arr_eq(r.buf, text, strlen(text));
}

Test(chr_funnel, typed_bytes_reach_the_receiver_in_order)
{
	type("one ");
	type("two");
	assert_received("one two");
	cr_assert_eq(r.eofs, 0, "typing has no end");
}

Test(chr_funnel, typed_bytes_wait_for_a_receiver_that_takes_few)
{
	r.room = 2;
	type("abcde");
	type("fg");
	(void)world_run_for(5 * NS_PER_MS);
	cr_assert_eq(r.n, 2);
	r.room = 4;
	chr_rx_resume(chr);
	receiver_wait_bytes(&r, 6);
	r.room = SIZE_MAX;
	chr_rx_resume(chr);
	assert_received("abcdefg");
}

Test(chr_funnel, typed_bytes_wait_for_a_receiver_to_come)
{
	chr_set_rx(chr, NULL);
	type("early");
	(void)world_run_for(5 * NS_PER_MS);
	chr_set_rx(chr, &r.rx);
	assert_received("early");
}

Test(chr_funnel, typing_is_all_or_nothing)
{
	static char text[CHR_TYPE_MAX];
	unsigned n = 0;

	memset(text, 'x', sizeof(text));
	r.room = 0;
	while (chr_type(chr, text, sizeof(text)) == 0)
		cr_assert_lt(++n, 1000);
	cr_assert_geq(n, 1);
	cr_assert_eq(chr_type(chr, text, sizeof(text)), -ENOBUFS);
	r.room = SIZE_MAX;
	chr_rx_resume(chr);
	receiver_wait_bytes(&r, n * sizeof(text));
	(void)world_run_for(5 * NS_PER_MS);
	cr_assert_eq(r.n, n * sizeof(text));
}

static struct chr_client *attach(int *ret_far)
{
	static struct chr_client_watcher watcher;
	struct chr_client *client = NULL;
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	cr_assert_eq(chr_attach(chr, fds[0], true, &watcher, &client), 0);
	*ret_far = fds[1];
	return client;
}

/* Full, then some room that it does not ask to be filled, as a FIFO that is being read: whoever
 * comes then must not make it forget that it owes an answer to the first. */
Test(chr_funnel, one_input_that_was_refused_holds_all_of_them_until_it_is_asked_for)
{
	struct chr_client *client;
	unsigned calls;
	int far;

	client = attach(&far);
	r.room = 1;
	type("ab");
	(void)world_run_for(5 * NS_PER_MS);
	cr_assert_eq(r.n, 1);
	r.room = 10;
	calls = r.calls;
	cr_assert_eq(send(far, "c", 1, 0), 1);
	(void)world_run_for(5 * NS_PER_MS);
	cr_assert_eq(r.calls, calls, "it did not ask");
	chr_rx_resume(chr);
	receiver_wait_bytes(&r, 3);
	cr_assert_not_null(memchr(r.buf, 'b', 3));
	cr_assert_not_null(memchr(r.buf, 'c', 3));
	chr_detach(client);
	close(far);
}

static size_t count(char c)
{
	size_t n = 0;

	for (size_t i = 0; i < r.n; i++)
		n += r.buf[i] == c;
	return n;
}

Test(chr_funnel, sender_without_end_keeps_nobody_out)
{
	static char text[CHR_TYPE_MAX];
	struct chr_client *client;
	int far;

	client = attach(&far);
	memset(text, 'x', sizeof(text));
	r.room = 0;
	cr_assert_eq(chr_type(chr, text, sizeof(text)), 0);
	cr_assert_eq(send(far, "yyyy", 4, 0), 4);
	(void)world_run_for(5 * NS_PER_MS);
	for (int i = 0; i < 40; i++) {
		r.room = 2;
		chr_rx_resume(chr);
		(void)world_run_for(NS_PER_MS);
	}
	cr_assert_eq(count('y'), 4);
	cr_assert_gt(count('x'), 10);
	chr_detach(client);
	close(far);
}
