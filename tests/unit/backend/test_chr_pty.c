/* SPDX-License-Identifier: Apache-2.0 */
#include "chr_world.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "backend/chr_out.h"
#include "base/clock.h"

static struct receiver r;
static struct reader reader;
static struct chr *chr;

static void set_up(void)
{
	world_set_up();
	receiver_init(&r);
	chr = world_start("pty", &r.rx);
}

static void tear_down(void)
{
	chr = chr_free(chr);
	world_tear_down();
}

TestSuite(chr_pty, .init = set_up, .fini = tear_down, .timeout = 60);

static int open_slave(void)
{
	const char *name = chr_describe(chr);
	int fd;

	cr_assert_eq(strncmp(name, "pty /dev/pts/", 13), 0, "%s", name);
	fd = open(name + 4, O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	return fd;
}

Test(chr_pty, bytes_pass_both_ways_unchanged)
{
	int fd = open_slave();

	cr_assert_eq(write(fd, "ls\r\x03\x04", 5), 5);
	receiver_wait_bytes(&r, 5);
	cr_assert_arr_eq(r.buf, "ls\r\x03\x04", 5);
	reader_start(&reader, fd);
	cr_assert_eq(chr_write(chr, "a\nb", 3), 3);
	reader_wait_bytes(&reader, 3);
	cr_assert_arr_eq(reader.buf, "a\nb", 3);
	reader_stop(&reader);
	close(fd);
	cr_assert_eq(r.n, 5, "what the guest writes is not echoed back to it");
}

Test(chr_pty, nobody_on_the_slave_side_costs_nothing_and_is_no_end)
{
	int fd;

	cr_assert_lt(world_run_for(50 * NS_PER_MS), 20 * NS_PER_MS);
	fd = open_slave();
	close(fd);
	cr_assert_lt(world_run_for(50 * NS_PER_MS), 20 * NS_PER_MS);
	cr_assert_eq(r.eofs, 0);
	/* And the next one can still talk. */
	fd = open_slave();
	cr_assert_eq(write(fd, "x", 1), 1);
	receiver_wait_bytes(&r, 1);
	close(fd);
}

Test(chr_pty, unread_output_is_dropped_and_counted_when_the_ring_is_full)
{
	static char text[4096];
	size_t taken = 0;

	memset(text, 't', sizeof(text));
	for (int i = 0; i < 200; i++) {
		taken += chr_write(chr, text, sizeof(text));
		world_run_for(NS_PER_MS / 10);
	}
	cr_assert_geq(taken, CHR_OUT_RING);
	cr_assert_lt(taken, 200 * sizeof(text));
	cr_assert_eq(chr_stats(chr).dropped, 200 * sizeof(text) - taken);
	cr_assert_lt(world_run_for(50 * NS_PER_MS), 20 * NS_PER_MS);
}
