/* SPDX-License-Identifier: Apache-2.0 */
#include "config_test.h"

#include <errno.h>
#include <jansson.h>

#include "config/config.h"

/* What --print-config writes. */
static char *print_of(const char *line)
{
	struct run_request request;
	struct vm_config c;
	struct err err;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	cr_assert_eq(test_run(line, &c, &request, &err), 0, "%s: %s", line, err.msg);
	cr_assert_eq(config_print(&c, out), 0);
	cr_assert_eq(fclose(out), 0);
	vm_config_done(&c);
	return text;
}

static void expect_round_trip(const char *line)
{
	char *first = print_of(line), *second;
	char path[32], again[64];

	test_write_file(first, path);
	(void)snprintf(again, sizeof(again), "--config|%s", path);
	second = print_of(again);
	cr_expect_str_eq(first, second, "%s", line);
	(void)unlink(path);
	free(first);
	free(second);
}

Test(config, print__read_again_gives_the_same_bytes)
{
	expect_round_trip("-k|bz");
	expect_round_trip("-k|bz|-m|1G,hugepages=2M");
	expect_round_trip("-k|bz|-m|33000000K,shared=off,prefault=on");
	expect_round_trip("-k|bz|--serial|pty");
	expect_round_trip("-k|bz|--serial|none|--kernel-defaults|off|-a|x -- y");
	expect_round_trip("-k|bz|-c|12,sockets=2,threads=2");
	expect_round_trip("-k|bz|-c|sockets=3");
	expect_round_trip("-k|bz|-a|quote \" backslash \\ tab \t newline \n \u00fc \u20ac");
	expect_round_trip("-k|bz|-a|");
	expect_round_trip("-k|bz|--timeout|1.0005s|--stop-timeout|1ms|--on-panic|wait|-q");
	expect_round_trip(
		"-k|bz|-i|rd|--protocol|pvh|--console|unix=/x/y,z|--debugcon|file=a=b|"
		"--on-reboot|restart|--result|r|--name|n|--log|l|--log-level|debug|--sandbox|log");
}

Test(config, print__leaves_out_what_is_not_given)
{
	char *text = print_of("-k|bz");

	cr_expect_null(strstr(text, "null"));
	cr_expect_null(strstr(text, "\"initrd\""));
	cr_expect_null(strstr(text, "\"timeout\""));
	cr_expect_null(strstr(text, "\"sockets\""));
	cr_expect_null(strstr(text, "\"result\""));
	free(text);
}

Test(config, print__begins_with_the_version_and_ends_the_line)
{
	char *text = print_of("-k|bz|--name|web");

	cr_expect_eq(strncmp(text, "{\n  \"version\": 1,\n  \"name\": \"web\",\n", 35), 0, "%s",
		     text);
	cr_expect_str_eq(text + strlen(text) - 3, "\n}\n");
	free(text);
}

Test(config, print__shows_the_whole_command_line)
{
	char *text = print_of("-k|bz|-a|quiet");

	cr_expect(strstr(text, "\"cmdline\": \"console=ttyS0 panic=-1 quiet\""), "%s", text);
	free(text);
}

Test(config, print__topology_that_was_not_given_can_still_be_chosen)
{
	char *text = print_of("-k|bz|-c|4"), path[32], line[64];

	test_write_file(text, path);
	(void)snprintf(line, sizeof(line), "--config|%s|-c|6", path);
	free(text);
	text = print_of(line);
	cr_expect(strstr(text, "\"boot\": 6"), "%s", text);
	free(text);
	(void)unlink(path);
}

Test(config, print__tells_that_the_disk_is_full)
{
	struct vm_config c;
	FILE *full = fopen("/dev/full", "w");

	cr_assert_not_null(full);
	vm_config_init(&c);
	cr_expect_eq(config_print(&c, full), -EIO);
	vm_config_done(&c);
	(void)fclose(full);
}

Test(config, to_json__is_one_line)
{
	char *json = test_run_json("-k|bz");

	cr_expect_null(strchr(json, '\n'));
	cr_expect_eq(strncmp(json, "{\"version\":1,", 13), 0, "%s", json);
	free(json);
}

Test(config, done__can_be_called_twice)
{
	struct vm_config c;

	vm_config_init(&c);
	vm_config_done(&c);
	vm_config_done(&c);
	cr_expect_null(c.name);
}
