/* SPDX-License-Identifier: Apache-2.0 */
#include "chr_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

TestSuite(chr_stdio, .init = world_set_up, .fini = world_tear_down, .timeout = 60);

Test(chr_stdio, second_stream_on_stdio_is_refused_until_the_first_is_gone)
{
	struct chr_spec spec = {.kind = CHR_STDIO};
	struct chr *first = world_open("stdio"), *second = NULL;
	struct err err = {0};

	cr_assert_eq(chr_open(&spec, "--serial", &second, &err), -EBUSY);
	cr_assert_not_null(strstr(err.msg, "--serial"));
	cr_assert_null(second);
	chr_free(first);
	cr_assert_eq(chr_open(&spec, "--serial", &second, NULL), 0);
	chr_free(second);
}

Test(chr_stdio, closed_stdout_drops_and_counts)
{
	struct chr *chr;

	world_move_fd(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
	close(STDOUT_FILENO);
	chr = world_start("stdio", NULL);
	cr_assert_eq(chr_write(chr, "abc", 3), 0);
	cr_assert_eq(chr_stats(chr).dropped, 3);
	chr_free(chr);
}

Test(chr_stdio, stdout_file_is_written_where_its_offset_stands)
{
	char path[128], buf[64];
	struct chr *chr;
	int fd;

	world_move_fd(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
	(void)snprintf(path, sizeof(path), "%s/out", world_dir());
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(write(fd, "header\n", 7), 7);
	world_move_fd(dup(fd), STDOUT_FILENO);
	chr = world_start("stdio", NULL);
	cr_assert_eq(chr_write(chr, "guest\n", 6), 6);
	world_wait_written(chr, 6);
	chr_free(chr);
	cr_assert_eq(pread(fd, buf, sizeof(buf), 0), 13);
	cr_assert_arr_eq(buf, "header\nguest\n", 13);
	close(fd);
}

Test(chr_stdio, free_closes_what_it_opened_and_nothing_else)
{
	int in = world_pipe_as_stdin(), out = world_pipe_as_stdout(), before, after;

	before = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(before);
	chr_free(world_start("stdio", NULL));
	after = open("/dev/null", O_RDONLY | O_CLOEXEC);
	cr_assert_eq(after, before);
	cr_assert_geq(fcntl(STDIN_FILENO, F_GETFD), 0);
	cr_assert_geq(fcntl(STDOUT_FILENO, F_GETFD), 0);
	close(after);
	close(in);
	close(out);
}
