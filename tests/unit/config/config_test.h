/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the config room have in common. */
#ifndef VMM_TESTS_UNIT_CONFIG_TEST_H
#define VMM_TESTS_UNIT_CONFIG_TEST_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "config/load.h"

enum { TEST_MAX_ARGS = 64 };

/* config_parse_run() on "-k|bzImage|-a|two words": one argument between two bars. */
static inline int test_run(const char *line, struct vm_config *config, struct run_request *request,
			   struct err *err)
{
	char *argv[TEST_MAX_ARGS], *copy = strdup(line), *rest = *copy ? copy : NULL, *arg;
	int argc = 0, r;

	while (argc < TEST_MAX_ARGS && (arg = strsep(&rest, "|")))
		argv[argc++] = arg;
	*err = (struct err){0};
	r = config_parse_run(argc, argv, config, request, err);
	free(copy);
	return r;
}

/* The effective JSON after a command line that must be right; malloc()ed. */
static inline char *test_run_json(const char *line)
{
	struct run_request request;
	struct vm_config config;
	struct err err;
	char *json;

	cr_assert_eq(test_run(line, &config, &request, &err), 0, "%s: %s", line, err.msg);
	json = config_to_json(&config);
	cr_assert_not_null(json);
	vm_config_done(&config);
	return json;
}

/* A command line that must be wrong; the message must have `first` and `second` (NULL: anything) in
 * it. */
static inline void test_run_fails(const char *line, const char *first, const char *second)
{
	struct run_request request;
	struct vm_config config;
	struct err err;

	cr_expect_lt(test_run(line, &config, &request, &err), 0, "accepted: %s", line);
	cr_expect_lt(err.code, 0);
	cr_expect(strstr(err.msg, first), "%s: no '%s' in '%s'", line, first, err.msg);
	cr_expect(!second || strstr(err.msg, second), "%s: no '%s' in '%s'", line, second, err.msg);
	vm_config_done(&config);
}

/* JSON text over the defaults, as from a file named "vm.json". */
static inline int test_load(const char *json, size_t len, struct vm_config *config, struct err *err)
{
	struct config_draft draft = {.config = config};
	int r;

	*err = (struct err){0};
	vm_config_init(config);
	r = config_load_bytes(&draft, json, len, "vm.json", err);
	config_resolve(&draft);
	return r;
}

/* Everything that print() writes; malloc()ed. */
static inline char *test_print(void (*print)(FILE *out))
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	cr_assert_not_null(out);
	print(out);
	cr_assert_eq(fclose(out), 0);
	return text;
}

/* A temporary file with this text; its path goes into path[32]. The caller unlinks it. */
static inline void test_write_file(const char *text, char *path)
{
	int fd;

	strcpy(path, "/tmp/vmm-config-XXXXXX");
	fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	cr_assert_eq(close(fd), 0);
}

#endif
