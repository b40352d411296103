/* SPDX-License-Identifier: Apache-2.0 */
#include "chr_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

TestSuite(chr_file, .init = world_set_up, .fini = world_tear_down, .timeout = 60);

static char path[128], spec_text[160];

static void use_file(const char *name)
{
	(void)snprintf(path, sizeof(path), "%s/%s", world_dir(), name);
	(void)snprintf(spec_text, sizeof(spec_text), "file=%s", path);
}

static size_t file_content(char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, buf, len);

	cr_assert_geq(n, 0);
	close(fd);
	return (size_t)n;
}

Test(chr_file, output_lands_in_a_file_that_is_cut_first)
{
	struct chr *chr;
	char buf[64];

	use_file("log");
	chr = world_start(spec_text, NULL);
	cr_assert_eq(chr_write(chr, "a longer first line\n", 20), 20);
	world_wait_written(chr, 20);
	chr_free(chr);
	chr = world_start(spec_text, NULL);
	cr_assert_str_eq(chr_describe(chr) + strlen("file "), path);
	cr_assert_eq(chr_write(chr, "two\n", 4), 4);
	world_wait_written(chr, 4);
	cr_assert_eq(file_content(buf, sizeof(buf)), 4);
	cr_assert_arr_eq(buf, "two\n", 4);
	cr_assert_eq(chr_stats(chr).dropped, 0);
	chr_free(chr);
}

Test(chr_file, free_writes_what_is_still_in_the_ring)
{
	struct chr *chr;
	char buf[64];

	use_file("log");
	chr = world_start(spec_text, NULL);
	cr_assert_eq(chr_write(chr, "last words", 10), 10);
	chr_free(chr);
	cr_assert_eq(file_content(buf, sizeof(buf)), 10);
}

Test(chr_file, bytes_written_before_the_start_are_not_lost)
{
	struct err err = {0};
	struct chr *chr;

	use_file("log");
	chr = world_open(spec_text);
	cr_assert_eq(chr_write(chr, "early", 5), 5);
	cr_assert_eq(chr_start(chr, world_loop, &err), 0);
	world_wait_written(chr, 5);
	chr_free(chr);
}

Test(chr_file, unwritable_path_is_named_with_the_option)
{
	struct chr_spec spec = {.kind = CHR_FILE, .path = "/nonexistent/dir/x"};
	struct err err = {0};
	struct chr *chr = NULL;

	cr_assert_eq(chr_open(&spec, "--serial", &chr, &err), -ENOENT);
	cr_assert_not_null(strstr(err.msg, "--serial"));
	cr_assert_not_null(strstr(err.msg, "/nonexistent/dir/x"));
	cr_assert_null(chr);
}

Test(chr_file, fifo_without_reader_is_refused_not_waited_for)
{
	struct chr_spec spec = {.kind = CHR_FILE, .path = path};
	struct err err = {0};
	struct chr *chr = NULL;

	use_file("fifo");
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_assert_eq(chr_open(&spec, "--console", &chr, &err), -ENXIO);
	cr_assert_not_null(strstr(err.msg, "reader"), "%s", err.msg);
}

Test(chr_file, full_disk_drops_and_goes_on)
{
	struct chr *chr = world_start("file=/dev/full", NULL);

	cr_assert_eq(chr_write(chr, "x\n", 2), 2);
	chr_flush(chr, 1000);
	cr_assert_eq(chr_stats(chr).dropped, 2);
	cr_assert_eq(chr_write(chr, "y", 1), 1, "the disk may have room again");
	chr_flush(chr, 1000);
	cr_assert_eq(chr_stats(chr).dropped, 3);
	cr_assert_eq(chr_stats(chr).written, 0);
	chr_free(chr);
}

Test(chr_file, file_delivers_no_input_and_no_end)
{
	static struct receiver r;
	struct chr *chr;

	use_file("log");
	receiver_init(&r);
	chr = world_start(spec_text, &r.rx);
	world_run_for(20 * NS_PER_MS);
	cr_assert_eq(r.eofs + r.calls, 0);
	chr_free(chr);
}

Test(chr_file, none_drops_everything)
{
	static struct receiver r;
	struct chr *chr;

	receiver_init(&r);
	chr = world_start("none", &r.rx);
	cr_assert_eq(chr_write(chr, "abc", 3), 0);
	cr_assert_eq(chr_stats(chr).dropped, 3);
	chr_flush(chr, 1000);
	world_run_for(5 * NS_PER_MS);
	cr_assert_eq(r.eofs, 0);
	cr_assert_str_eq(chr_describe(chr), "none");
	chr_free(chr);
}
