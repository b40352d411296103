/* SPDX-License-Identifier: Apache-2.0 */
/* Help, JSON Schema, man page and completion: all of the table is in each of them. */
#include "config_test.h"

#include <jansson.h>
#include <sys/wait.h>

#include "base/compiler.h"
#include "base/text.h"
#include "config/schema.h"

static void print_schema(FILE *out)
{
	cr_assert_eq(config_print_schema(out), 0);
}

Test(docs, help__names_every_flag_and_key)
{
	char *help = test_print(config_print_help), want[64];

	for (size_t i = 0; i < schema_n_rows; i++) {
		const struct schema_row *row = &schema_rows[i];

		const struct schema_row *key = NULL;

		if (!schema_is_head(row))
			continue;
		(void)snprintf(want, sizeof(want), "--%s", row->flag);
		cr_expect(strstr(help, want), "no '%s' in help", want);
		while ((key = schema_next_key(row, key))) {
			(void)snprintf(want, sizeof(want), " %s=", schema_key(key));
			cr_expect(key == schema_bare_key(row) || strstr(help, want),
				  "no '%s' in help", want);
		}
	}
	free(help);
}

Test(docs, help__fits_80_columns_without_trailing_blanks)
{
	char *help = test_print(config_print_help), *rest = help, *line;

	while ((line = strsep(&rest, "\n"))) {
		cr_expect_leq(strlen(line), 80, "%s", line);
		cr_expect(!*line || line[strlen(line) - 1] != ' ', "'%s'", line);
		cr_expect_null(strchr(line, '\t'));
	}
	free(help);
}

/* What the JSON Schema says about the row's key. */
static json_t *described(json_t *schema, const struct schema_row *row)
{
	json_t *properties = json_object_get(schema, "properties");

	if (row->object)
		properties =
			json_object_get(json_object_get(properties, row->object), "properties");
	return json_object_get(properties, row->name);
}

Test(docs, json_schema__describes_every_key)
{
	char *text = test_print(print_schema);
	json_t *schema = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	cr_assert_not_null(schema);
	cr_expect_str_eq(json_string_value(json_object_get(schema, "$schema")),
			 "https://json-schema.org/draft/2020-12/schema");
	for (size_t i = 0; i < schema_n_rows; i++) {
		const struct schema_row *row = &schema_rows[i];
		json_t *key = row->name ? described(schema, row) : NULL;

		if (!row->name)
			continue;
		cr_expect_not_null(key, "%s", row->name);
		cr_expect_str_eq(json_string_value(json_object_get(key, "description")), row->help);
		cr_expect_eq(json_object_get(key, "default") != NULL, row->fallback != NULL, "%s",
			     row->name);
		cr_expect(json_object_get(key, "type") || json_object_get(key, "enum") ||
				  json_object_get(key, "const"),
			  "%s", row->name);
	}
	json_decref(schema);
	free(text);
}

/* What the JSON Schema says about an element of a group. */
static json_t *element_described(json_t *schema, const struct schema_row *group)
{
	json_t *key = described(schema, group);

	return group->type == VALUE_LIST ? json_object_get(key, "items") : key;
}

static void expect_element_described(const struct schema_row *group, json_t *element)
{
	for (size_t i = 0; i < group->table->n; i++) {
		const struct schema_row *row = &group->table->rows[i];
		json_t *key = group->table->plain
				      ? element
				      : json_object_get(json_object_get(element, "properties"),
							row->name);

		cr_expect_not_null(key, "%s %s", group->name, row->name);
		cr_expect_str_eq(json_string_value(json_object_get(key, "description")), row->help);
		cr_expect_eq(json_object_get(key, "default") != NULL, row->fallback != NULL, "%s",
			     row->name);
		cr_expect_eq(json_object_get(key, "pattern") != NULL,
			     row->pattern || row->type == VALUE_NAME || row->type == VALUE_STREAM ||
				     row->type == VALUE_SIZE || row->type == VALUE_DURATION,
			     "%s", row->name);
	}
	cr_expect(group->table->plain ||
			  json_is_false(json_object_get(element, "additionalProperties")),
		  "%s", group->name);
}

Test(docs, json_schema__describes_every_element)
{
	char *text = test_print(print_schema);
	json_t *schema = json_loads(text, 0, NULL), *disk, *net;

	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_is_group(&schema_rows[i]))
			expect_element_described(&schema_rows[i],
						 element_described(schema, &schema_rows[i]));
	disk = element_described(schema, schema_find_flag("disk"));
	cr_expect_str_eq(json_string_value(json_array_get(json_object_get(disk, "required"), 0)),
			 "path");
	cr_expect_null(json_object_get(disk, "oneOf"));
	net = element_described(schema, schema_find_flag("net"));
	cr_expect_eq(json_array_size(json_object_get(net, "oneOf")), 5);
	cr_expect_null(json_object_get(net, "required"));
	json_decref(schema);
	free(text);
}

Test(docs, json_schema__closes_every_object)
{
	char *text = test_print(print_schema);
	json_t *schema = json_loads(text, 0, NULL), *value;
	const char *key;

	cr_expect(json_is_false(json_object_get(schema, "additionalProperties")));
	json_object_foreach(json_object_get(schema, "properties"), key, value)
	{
		if (json_object_get(value, "properties"))
			cr_expect(json_is_false(json_object_get(value, "additionalProperties")),
				  "%s", key);
	}
	json_decref(schema);
	free(text);
}

Test(docs, json_schema__limits_are_those_of_the_table)
{
	char *text = test_print(print_schema);
	json_t *schema = json_loads(text, 0, NULL);
	json_t *size = described(schema, schema_find_name("memory", "size"));
	json_t *boot = described(schema, schema_find_name("cpus", "boot"));
	json_t *console = described(schema, schema_find_name(NULL, "console"));

	cr_expect_eq(json_integer_value(json_object_get(size, "minimum")), 32);
	cr_expect_str_eq(json_string_value(json_object_get(size, "default")), "256M");
	cr_expect_eq(json_integer_value(json_object_get(boot, "maximum")), CONFIG_MAX_CPUS);
	cr_expect_str_eq(json_string_value(json_object_get(console, "pattern")),
			 "^(stdio|pty|file=.+|unix=.+|none)$");
	json_decref(schema);
	free(text);
}

/* Runs a shell command with text on its standard input; its exit code. */
static int pipe_to(const char *command, const char *text)
{
	FILE *child = popen(command, "w");
	int status;

	cr_assert_not_null(child);
	(void)fputs(text, child);
	status = pclose(child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void print_completion(FILE *out)
{
	static const struct config_command commands[] = {{"ps", "--quiet --json", false},
							 {"stop", "--all --timeout", true}};

	config_print_completion(commands, ARRAY_SIZE(commands), out);
}

Test(docs, completion__is_bash_and_names_every_flag)
{
	char *text = test_print(print_completion), want[64];

	cr_expect_eq(pipe_to("bash -n", text), 0);
	for (size_t i = 0; i < schema_n_rows; i++)
		if (schema_rows[i].flag) {
			(void)snprintf(want, sizeof(want), "--%s", schema_rows[i].flag);
			cr_expect(strstr(text, want), "%s", want);
		}
	free(text);
}

/* The completion of the last of `words`, as bash would list it, must be `expected`. */
static void expect_completion(const char *words, const char *expected)
{
	char *text = test_print(print_completion), *script = NULL;

	cr_assert_gt(asprintf(&script,
			      "%s\nCOMP_WORDS=(%s)\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_vmm\n"
			      "[[ \"${COMPREPLY[*]}\" == \"%s\" ]] || { echo \"# ${COMPREPLY[*]}\" "
			      ">&2; false; }\n",
			      text, words, expected),
		     0);
	cr_expect_eq(pipe_to("bash", script), 0, "%s should give %s", words, expected);
	free(script);
	free(text);
}

Test(docs, completion__offers_commands_flags_and_values)
{
	expect_completion("vmm ''", "run config selftest doctor version ps stop");
	expect_completion("vmm config sch", "schema");
	expect_completion("vmm stop --t", "--timeout");
	expect_completion("vmm ps ''", "");
	expect_completion("vmm run --kern", "--kernel --kernel-defaults");
	expect_completion("vmm run --protocol ''", "auto linux64 pvh");
	expect_completion("vmm run --protocol =", "auto linux64 pvh");
	expect_completion("vmm run --protocol = p", "pvh");
	expect_completion("vmm run --kernel-defaults o", "on off");
	expect_completion("vmm run --serial c", "console");
	expect_completion("vmm run --console f", "file=");
	expect_completion("vmm run -m 1G,h", "1G,hugepages=");
	expect_completion("vmm run -m 1G,hugepages = ''", "off 2M 1G");
	expect_completion("vmm run -k /etc/host.con", "/etc/host.conf");
	expect_completion("vmm run -d /etc/host.con", "/etc/host.conf");
	expect_completion("vmm run -d a,r", "a,ro");
	expect_completion("vmm run --disk a,ro,ca", "a,ro,cache=");
	expect_completion("vmm run --disk a,cache = w", "writeback");
	expect_completion("vmm run --net u", "user");
	expect_completion("vmm run -n tap = tap0,q", "tap0,queues= tap0,qsize=");
	expect_completion("vmm run --port a,stream = f", "file=");
	expect_completion("vmm run --net stream = f", "");
	expect_completion("vmm run --balloon s", "size= stats=");
	expect_completion("vmm run --rng o", "on off");
	expect_completion("vmm run --balloon reporting = o", "on off");
	expect_completion("vmm run -m 1G,hugepages = 2M,pre", "2M,prefault");
	expect_completion("vmm run --disk = a,ro,queues = 4,ov", "4,overlay");
	expect_completion("vmm run --watchdog po", "poweroff");
	expect_completion("vmm run --vsock 3,u", "3,uds=");
	expect_completion("vmm config check /etc/host.con", "/etc/host.conf");
}

/* The roff for "--flag" or "key=" of the row. */
static char *roff_name(const struct schema_row *row)
{
	struct str s = {0};

	str_add(&s, schema_is_head(row) ? "\\fB\\-\\-\\fR\\fB" : "\\fB");
	for (const char *c = schema_is_head(row) ? row->flag : row->key; *c; c++)
		str_addf(&s, "%s%c", *c == '-' ? "\\" : "", *c);
	str_add(&s, schema_is_head(row) ? "\\fR" : "\\fR=");
	return str_steal(&s);
}

Test(docs, man__names_every_flag_and_key)
{
	char *text = test_print(config_print_man_options);

	cr_expect(strstr(text, "\\fB\\-k\\fR, \\fB\\-\\-\\fR\\fBkernel\\fR \\fIFILE\\fR\n"), "%s",
		  text);
	for (size_t i = 0; i < schema_n_rows; i++) {
		char *want = schema_rows[i].flag ? roff_name(&schema_rows[i]) : NULL;

		cr_expect(!want || strstr(text, want), "no %s", want);
		free(want);
	}
	cr_expect(strstr(text, "\\fBro\\fR=\\fBon|off\\fR\n"));
	cr_expect(strstr(text, "In JSON: disks[].ro."));
	cr_expect(strstr(text, "In JSON: balloon.size."));
	cr_expect(strstr(text, "\\fBrng\\fR [\\fBon\\fR|"), "%s", text);
	free(text);
}

Test(docs, man__has_no_text_line_that_roff_takes_for_a_request)
{
	char *text = test_print(config_print_man_options), *rest = text, *line;

	while ((line = strsep(&rest, "\n")))
		cr_expect(*line != '\'' &&
				  (*line != '.' || strncmp(line, ".TP", 4) == 0 ||
				   strncmp(line, ".RS", 4) == 0 || strncmp(line, ".RE", 4) == 0 ||
				   strncmp(line, ".SS ", 4) == 0),
			  "%s", line);
	free(text);
}
