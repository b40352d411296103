/* SPDX-License-Identifier: Apache-2.0 */
/* A writer that loses nothing: it asks for room, and is told of room and of clients. */
#include "chr_world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct writer {
	struct chr_tx tx;
	unsigned rooms, arrivals, departures;
} writer;
static char path[96];
static struct chr *chr;

static void on_room(struct chr_tx *tx)
{
	(void)tx;
	writer.rooms++;
}

static void on_peer(struct chr_tx *tx, bool there)
{
	(void)tx;
	if (there)
		writer.arrivals++;
	else
		writer.departures++;
}

static void set_up(void)
{
	world_set_up();
	(void)snprintf(path, sizeof(path), "%s/s", world_dir());
	writer = (struct writer){.tx = {.room = on_room, .peer = on_peer}};
}

static void tear_down(void)
{
	chr = chr_free(chr);
	world_tear_down();
}

TestSuite(chr_room, .init = set_up, .fini = tear_down, .timeout = 60);

static void start(const char *spec)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "%s%s", spec, strcmp(spec, "unix=") == 0 ? path : "");
	chr = world_start(text, NULL);
	chr_set_tx(chr, &writer.tx);
}

static int connect_client(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(addr.sun_path, path);
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static bool counted(void *arg)
{
	return *(const unsigned *)arg > 0;
}

Test(chr_room, client_that_comes_and_goes_is_told_once)
{
	int fd;

	start("unix=");
	cr_assert_not(chr_has_peer(chr));
	fd = connect_client();
	world_run_until(counted, &writer.arrivals);
	cr_assert(chr_has_peer(chr));
	close(fd);
	chr_write(chr, "lost\n", 5); /* output and input both find it gone */
	world_run_until(counted, &writer.departures);
	cr_assert_not(chr_has_peer(chr));
	(void)world_run_for(1000000);
	cr_assert_eq(writer.arrivals, 1);
	cr_assert_eq(writer.departures, 1);
}

Test(chr_room, no_client_is_no_room_and_the_next_one_brings_it)
{
	int fd;

	start("unix=");
	cr_assert_not(chr_has_room(chr, 1));
	(void)world_run_for(1000000);
	cr_assert_eq(writer.rooms, 0);
	fd = connect_client();
	world_run_until(counted, &writer.rooms);
	cr_assert(chr_has_room(chr, CHR_ROOM_MAX));
	close(fd);
}

Test(chr_room, stalled_client_fills_it_and_reading_brings_it_back)
{
	static char bytes[64 << 10];
	size_t written = 0, got = 0;
	int fd;

	start("unix=");
	fd = connect_client();
	world_run_until(counted, &writer.arrivals);
	while (chr_has_room(chr, sizeof(bytes))) {
		cr_assert_eq(chr_write(chr, bytes, sizeof(bytes)), sizeof(bytes));
		written += sizeof(bytes);
		chr_push(chr);
		(void)world_run_for(1000000);
		cr_assert_lt(written, 16 << 20);
	}
	cr_assert_eq(writer.rooms, 0);
	while (writer.rooms == 0) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		got += n > 0 ? (size_t)n : 0;
		(void)world_run_for(100000);
	}
	cr_assert(chr_has_room(chr, CHR_ROOM_MAX));
	while (got < written) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		got += n > 0 ? (size_t)n : 0;
		(void)world_run_for(100000);
	}
	cr_assert_eq(chr_stats(chr).dropped, 0);
	cr_assert_eq(writer.rooms, 1, "told once for one question");
	close(fd);
}

Test(chr_room, pushed_bytes_do_not_wait_for_a_newline)
{
	char text[8];
	int fd;

	start("unix=");
	fd = connect_client();
	world_run_until(counted, &writer.arrivals);
	chr_write(chr, "a", 1);
	(void)world_run_for(1000000);
	/* It lingers now: without a push this one would wait for 10 ms. */
	chr_write(chr, "b", 1);
	chr_push(chr);
	(void)world_run_for(1000000);
	cr_assert_eq(recv(fd, text, sizeof(text), MSG_DONTWAIT), 2);
	close(fd);
}

Test(chr_room, stream_that_goes_nowhere_always_has_it)
{
	start("none");
	cr_assert(chr_has_peer(chr));
	for (int i = 0; i < 100; i++) {
		cr_assert(chr_has_room(chr, CHR_ROOM_MAX));
		chr_write(chr, "x", 1);
	}
}
