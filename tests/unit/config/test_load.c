/* SPDX-License-Identifier: Apache-2.0 */
#include "config_test.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/clock.h"
#include "config/load.h"

static char *json_of(const char *text)
{
	struct vm_config config;
	struct err err;
	char *json;

	cr_assert_eq(test_load(text, strlen(text), &config, &err), 0, "%s: %s", text, err.msg);
	json = config_to_json(&config);
	vm_config_done(&config);
	return json;
}

static void expect_same_json(const char *a, const char *b)
{
	char *json_a = json_of(a), *json_b = json_of(b);

	cr_expect_str_eq(json_a, json_b);
	free(json_a);
	free(json_b);
}

Test(load, file__equals_the_flags)
{
	static const char file[] = "{\"version\": 1, \"name\": \"n\", \"kernel\": {\"path\": "
				   "\"bz\", \"initrd\": \"rd\", "
				   "\"append\": \"a b\", \"defaults\": false, \"protocol\": "
				   "\"linux64\"}, \"memory\": {\"size\": "
				   "\"2G\", \"hugepages\": \"1G\", \"shared\": \"on\", \"thp\": "
				   "false, \"prefault\": true}, "
				   "\"cpus\": {\"boot\": 8, \"sockets\": 2, \"cores\": 2, "
				   "\"threads\": 2}, \"console\": \"pty\", "
				   "\"serial\": \"console\", \"debugcon\": \"file=d\", "
				   "\"on_reboot\": \"restart\", \"on_panic\": "
				   "\"wait\", \"timeout\": \"90s\", \"stop_timeout\": \"2m\", "
				   "\"result\": \"r\", \"log\": "
				   "{\"path\": \"l\", \"level\": \"info\"}, \"sandbox\": \"log\"}";
	char *from_file = json_of(file);
	char *from_flags = test_run_json(
		"--name|n|-k|bz|-i|rd|-a|a b|--kernel-defaults|off|--protocol|linux64|-m|"
		"2G,hugepages=1G,shared=on,thp=off,prefault=on|-c|8,sockets=2,cores=2,threads=2|--"
		"console|pty|"
		"--serial|console|--debugcon|file=d|--on-reboot|restart|--on-panic|wait|--timeout|"
		"90|"
		"--stop-timeout|120s|--result|r|--log|l|--log-level|info|--sandbox|log");
	char *from_set = test_run_json(
		"--set|name=n|--set|kernel.path=bz|--set|kernel.initrd=rd|--set|kernel.append=a "
		"b|--set|"
		"kernel.defaults=off|--set|kernel.protocol=linux64|--set|memory.size=2G|--set|"
		"memory.hugepages=1G|--set|memory.shared=on|--set|memory.thp=off|--set|memory."
		"prefault=on|"
		"--set|cpus.boot=8|--set|cpus.sockets=2|--set|cpus.cores=2|--set|cpus.threads=2|--"
		"set|"
		"console=pty|--set|serial=console|--set|debugcon=file=d|--set|on_reboot=restart|--"
		"set|"
		"on_panic=wait|--set|timeout=90s|--set|stop_timeout=2m|--set|result=r|--set|log."
		"path=l|--set|"
		"log.level=info|--set|sandbox=log");

	cr_expect_str_eq(from_file, from_flags);
	cr_expect_str_eq(from_file, from_set);
	free(from_file);
	free(from_flags);
	free(from_set);
}

Test(load, integer__counts_mib_or_seconds_as_on_the_command_line)
{
	expect_same_json("{\"memory\": {\"size\": 512}}", "{\"memory\": {\"size\": \"512M\"}}");
	expect_same_json("{\"timeout\": 90}", "{\"timeout\": \"1.5m\"}");
}

Test(load, empty_object__is_the_defaults)
{
	expect_same_json("{}", " {\"version\": 1}\n");
}

Test(load, wrong__names_file_key_and_the_nearest)
{
	static const struct {
		const char *json, *first, *second;
	} bad[] = {
		{"", "vm.json: ", "empty"},
		{" \n\t", "vm.json: ", "empty"},
		{"{", "vm.json:1:", "end of file"},
		{"{\n \"name\": \"x\"\n \"sandbox\": 1}", "vm.json:3:", "expected"},
		{"{\n\n\"name\" \"x\"}", "vm.json:3:", "':' expected"},
		{"{\"name\": 'x'}", "vm.json:1:", "invalid token"},
		{"{\"name\": \"x\",}", "vm.json:1:", "expected"},
		{"{} {}", "vm.json:1:4", "end of file expected"},
		{"nonsense", "vm.json:1:", NULL},
		{"[]", "vm.json: ", "object, not an array"},
		{"{\"name\": \"x\",\n\"name\": \"y\"}", "vm.json:2:", "duplicate object key"},
		{"{\"log\": {\"path\": \"x\",\n\"path\": \"y\"}}", "vm.json:2:", "\"path\""},
		{"{\"kernal\": {}}", "vm.json: /kernal: unknown key", "/kernel?"},
		{"{\"mem\": \"1G\"}", "vm.json: /mem: unknown key", "/memory?"},
		{"{\"hugepages\": \"2M\"}", "/hugepages: unknown key", "/memory/hugepages?"},
		{"{\"qwertyuiop\": 1}", "/qwertyuiop: unknown key", "keys here: version, name"},
		{"{\"\": 1}", "unknown key", "keys here"},
		{"{\"memory\": {\"hugepage\": \"2M\"}}", "/memory/hugepage: unknown key",
		 "/memory/hugepages?"},
		{"{\"cpus\": {\"socket\": 2}}", "/cpus/socket: unknown key", "/cpus/sockets?"},
		{"{\"log\": {\"file\": \"x\"}}", "/log/file: unknown key", "path, level"},
		{"{\"kernel\": \"bz\"}", "vm.json: /kernel: must be an object", "a string"},
		{"{\"memory\": []}", "/memory: must be an object", "an array"},
		{"{\"memory\": null}", "/memory: must be an object", "null"},
		{"{\"kernel\": {\"path\": 5}}", "/kernel/path: must be a string", "a whole number"},
		{"{\"kernel\": {\"path\": null}}", "/kernel/path: must be a string", "null"},
		{"{\"kernel\": {\"path\": \"\"}}", "/kernel/path", "empty"},
		{"{\"kernel\": {\"defaults\": \"on\"}}", "/kernel/defaults: must be true or false",
		 "a string"},
		{"{\"kernel\": {\"defaults\": 1}}", "/kernel/defaults", "true or false"},
		{"{\"kernel\": {\"protocol\": \"phv\"}}", "/kernel/protocol: 'phv'", "'pvh'?"},
		{"{\"kernel\": {\"path\": \"a\\u0000b\"}}", "/kernel/path", "NUL"},
		{"{\"a\\u0000b\": 1}", "vm.json:1:", "NUL"},
		{"{\"memory\": {\"size\": true}}", "/memory/size: must be a size", "true"},
		{"{\"memory\": {\"size\": 1.5}}", "/memory/size: must be a size", "fraction"},
		{"{\"memory\": {\"size\": {}}}", "/memory/size: must be a size", "an object"},
		{"{\"memory\": {\"size\": 3}}", "/memory/size: 3M", "at least 32M"},
		{"{\"memory\": {\"size\": 0}}", "/memory/size: 0", "at least 32M"},
		{"{\"memory\": {\"size\": -512}}", "/memory/size: '-512'", "512M"},
		{"{\"memory\": {\"size\": \"1E\"}}", "/memory/size: '1E'", "K, M, G and T"},
		{"{\"memory\": {\"size\": 9223372036854775807}}", "/memory/size", "at most 64T"},
		{"{\"memory\": {\"size\": 99999999999999999999}}", "vm.json:1:", "too big integer"},
		{"{\"memory\": {\"hugepages\": 2}}", "/memory/hugepages: must be a string", NULL},
		{"{\"memory\": {\"hugepages\": \"4M\"}}", "/memory/hugepages: '4M'", "off, 2M, 1G"},
		{"{\"cpus\": {\"boot\": \"4\"}}", "/cpus/boot: must be a whole number", "a string"},
		{"{\"cpus\": {\"boot\": 0}}", "/cpus/boot: 0", "at least 1"},
		{"{\"cpus\": {\"boot\": 255}}", "/cpus/boot: 255", "at most 254"},
		{"{\"cpus\": {\"boot\": 4294967297}}", "/cpus/boot: 4294967297", "at most 254"},
		{"{\"console\": \"stdoi\"}", "/console: 'stdoi'", "'stdio'?"},
		{"{\"timeout\": 0}", "/timeout: 0s", "at least"},
		{"{\"timeout\": \"5q\"}", "/timeout: '5q'", "ms, s, m and h"},
		{"{\"name\": \"a/b\"}", "/name: 'a/b'", "letters"},
		{"{\"name\": [\"a\"]}", "/name: must be a string", "an array"},
		{"{\"sandbox\": \"strct\"}", "/sandbox: 'strct'", "'strict'?"},
		{"{\"log\": {\"level\": \"warning\"}}", "/log/level: 'warning'", "'warn'?"},
		{"{\"version\": 2}", "/version: is 2", "only 1"},
		{"{\"version\": \"1\"}", "/version: must be a whole number", NULL},
		{"{\"name\": \"\xff\"}", "vm.json:1:", "byte"},
		{"{\"kernel\": {\"cmdline\": \"quiet\"}}", "/kernel/cmdline", "/kernel/append"},
		{"{\"kernel\": {\"cmdline\": 7}}", "/kernel/cmdline", "/kernel/append"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vm_config config;
		struct err err;

		cr_expect_lt(test_load(bad[i].json, strlen(bad[i].json), &config, &err), 0,
			     "accepted: %s", bad[i].json);
		cr_expect(strstr(err.msg, bad[i].first), "no '%s' in '%s'", bad[i].first, err.msg);
		cr_expect(!bad[i].second || strstr(err.msg, bad[i].second), "no '%s' in '%s'",
			  bad[i].second, err.msg);
		vm_config_done(&config);
	}
}

Test(load, unknown_key__keeps_everything_else_out)
{
	static const char json[] = "{\"name\": \"other\", \"kernal\": {}}";
	struct vm_config config;
	struct err err;

	cr_assert_lt(test_load(json, strlen(json), &config, &err), 0);
	cr_expect_null(config.name);
	vm_config_done(&config);
}

Test(load, nesting__of_any_depth_is_an_error_not_a_crash)
{
	static const char open[] = {'[', '{'};
	enum { DEPTH = 500000 };
	char *json = malloc(DEPTH);

	cr_assert_not_null(json);
	for (size_t i = 0; i < ARRAY_SIZE(open); i++) {
		struct vm_config config;
		struct err err;

		memset(json, open[i], DEPTH);
		cr_expect_lt(test_load(json, DEPTH, &config, &err), 0);
		cr_expect(strstr(err.msg, "vm.json:1:"), "%s", err.msg);
		vm_config_done(&config);
	}
	free(json);
}

Test(load, nesting__below_a_known_key_is_a_wrong_type)
{
	enum { DEPTH = 2000 };
	char json[2 * DEPTH + 32];
	struct vm_config config;
	struct err err;
	int n = snprintf(json, sizeof(json), "{\"name\": ");

	memset(json + n, '[', DEPTH);
	memset(json + n + DEPTH, ']', DEPTH);
	json[n + 2 * DEPTH] = '}';
	cr_expect_lt(test_load(json, (size_t)n + 2 * DEPTH + 1, &config, &err), 0);
	cr_expect(strstr(err.msg, "/name: must be a string"), "%s", err.msg);
	vm_config_done(&config);
}

Test(load, bytes__need_no_final_zero)
{
	static const char json[] = "{\"name\": \"x\"}";
	char *exact = malloc(strlen(json));
	struct vm_config config;
	struct err err;

	cr_assert_not_null(exact);
	memcpy(exact, json, strlen(json));
	cr_expect_eq(test_load(exact, strlen(json), &config, &err), 0, "%s", err.msg);
	cr_expect_str_eq(config.name, "x");
	vm_config_done(&config);
	free(exact);
}

Test(load, bytes__truncated_anywhere_are_an_error)
{
	static const char json[] =
		"{\"name\": \"x\", \"memory\": {\"size\": \"1G\", \"thp\": true}}";

	for (size_t len = 0; len < strlen(json); len++) {
		struct vm_config config;
		struct err err;

		cr_expect_lt(test_load(json, len, &config, &err), 0, "length %zu", len);
		cr_expect_null(config.name);
		vm_config_done(&config);
	}
}

static void expect_path_error(const char *path, int code, const char *words)
{
	struct vm_config config;
	struct err err = {0};

	vm_config_init(&config);
	cr_expect_eq(config_load_file(&config, path, &err), code, "%s", err.msg);
	cr_expect(strstr(err.msg, path) && strstr(err.msg, words), "%s", err.msg);
	vm_config_done(&config);
}

Test(load, path__directory_fifo_missing_device_are_refused_at_once)
{
	char dir[] = "/tmp/vmm-config-XXXXXX", fifo[64];

	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	expect_path_error(dir, -EISDIR, "directory");
	expect_path_error(fifo, -EINVAL, "regular file");
	expect_path_error("/dev/zero", -EINVAL, "regular file");
	expect_path_error("/nonexistent.json", -ENOENT, "No such file");
	cr_expect_eq(unlink(fifo), 0);
	cr_expect_eq(rmdir(dir), 0);
}

Test(load, path__file_over_one_mib_is_refused)
{
	char path[32];

	test_write_file("{}", path);
	cr_assert_eq(truncate(path, (off_t)MIB(1)), 0);
	expect_path_error(path, -EINVAL, ":1:"); /* read whole: zeros behind the object */
	cr_assert_eq(truncate(path, (off_t)MIB(1) + 1), 0);
	expect_path_error(path, -EFBIG, "1 MiB");
	cr_expect_eq(unlink(path), 0);
}

Test(load, message__carries_no_control_character_to_the_terminal)
{
	struct vm_config config;
	struct err err = {0};
	char path[32];

	test_write_file("{\"\\u001b[31mred\": 1}", path);
	vm_config_init(&config);
	cr_expect_lt(config_load_file(&config, path, &err), 0);
	cr_expect(strstr(err.msg, "?[31mred"), "%s", err.msg);
	cr_expect_null(strchr(err.msg, '\x1b'));
	vm_config_done(&config);
	(void)unlink(path);
}
