/* SPDX-License-Identifier: Apache-2.0 */
#include "config_test.h"

#include <fcntl.h>
#include <jansson.h>

#include "cli/cli_config.h"

enum { OUTPUT_LEN = 65536 };

/* Runs `vmm config` on "check|file"; puts what it wrote to fd (1 or 2) into ret[OUTPUT_LEN]. */
static int run(const char *line, int fd, char *ret)
{
	char *argv[TEST_MAX_ARGS], *copy = strdup(line), *rest = *copy ? copy : NULL, *arg;
	int argc = 0, code, saved = dup(fd);
	FILE *file = tmpfile();
	ssize_t n;

	while (argc < TEST_MAX_ARGS && (arg = strsep(&rest, "|")))
		argv[argc++] = arg;
	cr_assert_not_null(file);
	(void)fflush(NULL);
	cr_assert_eq(dup2(fileno(file), fd), fd);
	code = cli_config(argc, argv);
	(void)fflush(NULL);
	cr_assert_eq(dup2(saved, fd), fd);
	(void)close(saved);
	n = pread(fileno(file), ret, OUTPUT_LEN - 1, 0);
	cr_assert_geq(n, 0);
	ret[n] = '\0';
	(void)fclose(file);
	free(copy);
	return code;
}

Test(cli_config, check__tells_ok_or_the_error_and_125)
{
	char good[32], bad[32], line[128], want[128];
	static char out[OUTPUT_LEN];

	test_write_file("{\"kernel\": {\"path\": \"bz\"}}", good);
	test_write_file("{\"kernel\": {\"path\": \"bz\"}, \"cpus\": {\"boot\": 4, \"cores\": 3}}",
			bad);
	(void)snprintf(want, sizeof(want), "%s: ok\n", good);
	(void)snprintf(line, sizeof(line), "check|%s", good);
	cr_expect_eq(run(line, 1, out), 0);
	cr_expect_str_eq(out, want);
	(void)snprintf(line, sizeof(line), "check|%s|%s", bad, good);
	cr_expect_eq(run(line, 1, out), 125);
	cr_expect_str_eq(out, want, "the second file is checked too");
	cr_expect_eq(run(line, 2, out), 125);
	cr_expect_eq(strncmp(out, bad, strlen(bad)), 0, "%s", out);
	cr_expect(strstr(out, "cpus: "), "%s", out);
	(void)unlink(good);
	(void)unlink(bad);
}

Test(cli_config, check__without_kernel_or_file_is_an_error)
{
	char path[32], line[128];
	static char out[OUTPUT_LEN];

	test_write_file("{}", path);
	(void)snprintf(line, sizeof(line), "check|%s", path);
	cr_expect_eq(run(line, 2, out), 125);
	cr_expect(strstr(out, "no kernel"), "%s", out);
	cr_expect_eq(run("check", 2, out), 125);
	cr_expect(strstr(out, "FILE"), "%s", out);
	(void)unlink(path);
}

Test(cli_config, schema__is_json)
{
	static char out[OUTPUT_LEN];
	json_t *json;

	cr_expect_eq(run("schema", 1, out), 0);
	json = json_loads(out, 0, NULL);
	cr_expect_not_null(json);
	json_decref(json);
}

Test(cli_config, texts__come_out)
{
	static char out[OUTPUT_LEN];

	cr_expect_eq(run("completion", 1, out), 0);
	cr_expect(strstr(out, "complete -F _vmm vmm"));
	cr_expect_eq(run("man-options", 1, out), 0);
	cr_expect(strstr(out, ".TP\n"));
	cr_expect_eq(run("--help", 1, out), 0);
	cr_expect(strstr(out, "check FILE"));
}

Test(cli_config, wrong_command__names_the_nearest)
{
	static char out[OUTPUT_LEN];

	cr_expect_eq(run("schma", 2, out), 125);
	cr_expect(strstr(out, "'schema'"), "%s", out);
	cr_expect_eq(run("schema|x", 2, out), 125);
	cr_expect(strstr(out, "'x'"), "%s", out);
	cr_expect_eq(run("", 2, out), 125);
	cr_expect(strstr(out, "usage"), "%s", out);
}

Test(cli_config, output__that_is_lost_is_an_error)
{
	char *argv[] = {strdup("completion")};
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), saved = dup(1), code;

	cr_assert_geq(full, 0);
	(void)fflush(stdout);
	cr_assert_eq(dup2(full, 1), 1);
	code = cli_config(1, argv);
	clearerr(stdout);
	cr_assert_eq(dup2(saved, 1), 1);
	cr_expect_eq(code, 125);
	(void)close(full);
	(void)close(saved);
	free(argv[0]);
}
