/* SPDX-License-Identifier: Apache-2.0 */
#include "config_test.h"

#include <errno.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"

Test(args, defaults__are_those_of_the_reference)
{
	struct run_request request;
	struct vm_config c;
	struct err err;

	cr_assert_eq(test_run("-k|bz", &c, &request, &err), 0, "%s", err.msg);
	cr_expect_null(c.name);
	cr_expect_str_eq(c.kernel.path, "bz");
	cr_expect_null(c.kernel.initrd);
	cr_expect_null(c.kernel.append);
	cr_expect(c.kernel.defaults);
	cr_expect_eq(c.kernel.protocol, CONFIG_PROTOCOL_AUTO);
	cr_expect_eq(c.memory.size, MIB(256));
	cr_expect_eq(c.memory.hugepages, 0);
	cr_expect_eq(c.memory.shared, CONFIG_SHARED_AUTO);
	cr_expect(c.memory.thp);
	cr_expect_not(c.memory.prefault);
	cr_expect_eq(c.cpus.boot, 1);
	cr_expect_eq(c.cpus.sockets + c.cpus.cores + c.cpus.threads, 0);
	cr_expect_str_eq(c.console, "stdio");
	cr_expect_str_eq(c.serial, "console");
	cr_expect_str_eq(c.debugcon, "none");
	cr_expect_eq(c.on_reboot, CONFIG_REBOOT_EXIT);
	cr_expect_eq(c.on_panic, CONFIG_PANIC_EXIT);
	cr_expect_eq(c.timeout_ns, 0);
	cr_expect_eq(c.stop_timeout_ns, 10 * NS_PER_S);
	cr_expect_null(c.result);
	cr_expect_null(c.log.path);
	cr_expect_eq(c.log.level, LOG_WARN);
	cr_expect_eq(c.sandbox, CONFIG_SANDBOX_STRICT);
	cr_expect_not(request.print_config || request.dry_run || request.help);
	vm_config_done(&c);
}

Test(args, flags__every_one_reaches_its_field)
{
	static const char line[] =
		"--kernel|bz|--initrd|rd|--append|a b|--kernel-defaults|off|--protocol|pvh|"
		"--mem|2G,hugepages=2M,shared=on,thp=off,prefault=on|--cpus|8,sockets=2,cores=2,"
		"threads=2|"
		"--console|file=c|--serial|console|--debugcon|unix=d|--timeout|90|--stop-timeout|"
		"500ms|"
		"--on-reboot|restart|--on-panic|wait|--result|r|--name|a.b-c_1|--log-level|debug|--"
		"log|l|"
		"--sandbox|off";
	struct run_request request;
	struct vm_config c;
	struct err err;

	cr_assert_eq(test_run(line, &c, &request, &err), 0, "%s", err.msg);
	cr_expect_str_eq(c.name, "a.b-c_1");
	cr_expect_str_eq(c.kernel.path, "bz");
	cr_expect_str_eq(c.kernel.initrd, "rd");
	cr_expect_str_eq(c.kernel.append, "a b");
	cr_expect_not(c.kernel.defaults);
	cr_expect_eq(c.kernel.protocol, CONFIG_PROTOCOL_PVH);
	cr_expect_eq(c.memory.size, GIB(2));
	cr_expect_eq(c.memory.hugepages, MIB(2));
	cr_expect_eq(c.memory.shared, CONFIG_SHARED_ON);
	cr_expect_not(c.memory.thp);
	cr_expect(c.memory.prefault);
	cr_expect_eq(c.cpus.boot, 8);
	cr_expect_eq(c.cpus.sockets, 2);
	cr_expect_eq(c.cpus.cores, 2);
	cr_expect_eq(c.cpus.threads, 2);
	cr_expect_str_eq(c.console, "file=c");
	cr_expect_str_eq(c.serial, "console");
	cr_expect_str_eq(c.debugcon, "unix=d");
	cr_expect_eq(c.on_reboot, CONFIG_REBOOT_RESTART);
	cr_expect_eq(c.on_panic, CONFIG_PANIC_WAIT);
	cr_expect_eq(c.timeout_ns, 90 * NS_PER_S);
	cr_expect_eq(c.stop_timeout_ns, 500 * NS_PER_MS);
	cr_expect_str_eq(c.result, "r");
	cr_expect_str_eq(c.log.path, "l");
	cr_expect_eq(c.log.level, LOG_DEBUG);
	cr_expect_eq(c.sandbox, CONFIG_SANDBOX_OFF);
	vm_config_done(&c);
}

/* Different ways to write the same thing. */
static void expect_same(const char *a, const char *b)
{
	char *json_a = test_run_json(a), *json_b = test_run_json(b);

	cr_expect_str_eq(json_a, json_b, "%s and %s differ", a, b);
	free(json_a);
	free(json_b);
}

Test(args, forms__all_mean_the_same)
{
	expect_same("-k|bz", "-kbz");
	expect_same("-k|bz", "--kernel|bz");
	expect_same("-k|bz", "--kernel=bz");
	expect_same("-k|bz|-a|x=y", "-k|bz|-p|x=y");
	expect_same("-k|bz|-a|x=y", "-k|bz|--append=x=y");
	expect_same("-k|bz|-i|rd", "-ird|-kbz");
	expect_same("-k|bz|-m|512", "-k|bz|-m512M");
	expect_same("-k|bz|-m|1G", "-k|bz|--mem=size=1G");
	expect_same("-k|bz|-c|2", "-k|bz|--cpus=boot=2");
	expect_same("-k|bz|-q", "-k|bz|--log-level|error");
	expect_same("-k|bz|-q", "-qkbz");
	expect_same("-k|bz|--quiet", "-qk|bz");
	expect_same("-k|bz|-a|-x", "-k|bz|-a-x");
	expect_same("-k|bz|-a|", "-k|bz|--append=");
	expect_same("-k|bz|-m|1G,hugepages=2M", "-k|bz|-m|1G|-m|hugepages=2M");
	expect_same("-k|bz|-c|sockets=2,cores=3", "-k|bz|-c|6,sockets=2,cores=3");
}

Test(args, order__later_wins_and_set_takes_part)
{
	expect_same("-k|a|-k|b", "-k|b");
	expect_same("-k|a|-m|1G|--set|memory.size=2G", "-k|a|-m|2G");
	expect_same("-k|a|--set|memory.size=2G|-m|1G", "-k|a|-m|1G");
}

Test(args, value__that_looks_like_a_flag_can_be_forced)
{
	test_run_fails("--append|--kernel", "--append needs a value", "--append=--kernel");
	expect_same("-k|bz|--append=--kernel", "-k|bz|-a--kernel");
	expect_same("-k|bz|-a|-- --kernel", "-k|bz|--append=-- --kernel");
}

Test(args, set__equals_the_flags)
{
	expect_same(
		"-k|bz|--kernel-defaults|off|--protocol|pvh|-m|1G,hugepages=2M|-c|4,threads=2|--"
		"timeout|2m|"
		"--log|l|-q|--console|pty|--on-reboot|restart",
		"--set|kernel.path=bz|--set|kernel.defaults=off|--set|kernel.protocol=pvh|--set|"
		"memory.size=1G|--set|memory.hugepages=2M|--set|cpus.boot=4|--set|cpus.threads=2|--"
		"set|"
		"timeout=2m|--set|log.path=l|--set=log.level=error|--set|console=pty|--set|"
		"on_reboot=restart");
	expect_same("-k|bz|--kernel-defaults|off", "-k|bz|--set|kernel.defaults=false");
	expect_same("-k|bz|-a|a=b=c", "-k|bz|--set|kernel.append=a=b=c");
}

Test(args, request__is_told_apart_from_the_vm)
{
	struct run_request request;
	struct vm_config c;
	struct err err;

	cr_assert_eq(test_run("-k|bz|--print-config|--dry-run", &c, &request, &err), 0);
	cr_expect(request.print_config && request.dry_run && !request.help);
	vm_config_done(&c);
}

Test(args, help__is_given_whatever_else_is_wrong)
{
	struct run_request request;
	struct vm_config c;
	struct err err;

	cr_expect_eq(test_run("-h", &c, &request, &err), 0);
	cr_expect(request.help);
	vm_config_done(&c);
	cr_expect_eq(test_run("--kernal|x|--help", &c, &request, &err), 0);
	cr_expect(request.help);
	cr_expect_eq(err.code, 0);
	vm_config_done(&c);
}

Test(args, wrong__names_the_option_and_the_nearest)
{
	static const struct {
		const char *line, *first, *second;
	} bad[] = {
		{"", "no kernel", "--kernel"},
		{"--kernal|x", "'--kernal'", "--kernel?"},
		{"--kernal=x", "'--kernal'", "--kernel?"},
		{"--init|x", "'--init'", "--initrd?"},
		{"--wholly-strange-thing", "'--wholly-strange-thing'", "--help"},
		{"--=x", "unknown option '--'", NULL},
		{"-k|bz|-Z", "'-Z'", "--help"},
		{"-k|bz|-qZ", "'-Z'", "--help"},
		{"-k", "-k needs a value", "FILE"},
		{"--mem", "--mem needs a value", "SIZE"},
		{"-k|-i|x", "-k needs a value", "'-i'"},
		{"-k|bz|--dry-run=1", "--dry-run takes no value", NULL},
		{"bzImage", "'bzImage'", "--kernel FILE"},
		{"-k|bz|mem=1G", "'mem=1G'", "--mem?"},
		{"-k|bz|kernel", "'kernel'", "--kernel?"},
		{"-k|bz|/boot/vmlinuz", "'/boot/vmlinuz'", "--kernel FILE"},
		{"-k|bz|-", "'-'", NULL},
		{"-k|bz|--|x", "'--'", "--append"},
		{"-k|bz|", "unexpected argument ''", NULL},
		{"-k|", "-k", "empty"},
		{"-k|bz|-m|0", "-m: 0", "32M"},
		{"-k|bz|-m|3M", "-m: 3M", "32M"},
		{"-k|bz|-m|1E", "'1E'", "K, M, G and T"},
		{"-k|bz|-m|1.5G", "'1.5G'", "512M"},
		{"-k|bz|-m|-1", "'-1'", "512M"},
		{"-k|bz|-m|", "-m", NULL},
		{"-k|bz|-m|99999999T", "99999999T", "64T"},
		{"-k|bz|-m|99999999999999999999", "too large", "64T"},
		{"-k|bz|-m|33000001K", "multiple of 4K", NULL},
		{"-k|bz|-m|1G,hugepage=2M", "'hugepage'", "'hugepages'"},
		{"-k|bz|-m|1G,hugepages=4M", "hugepages: '4M'", "off, 2M, 1G"},
		{"-k|bz|-m|1G,2G", "'2G'", "KEY=VALUE"},
		{"-k|bz|-m|1G,", "comma", ",,"},
		{"-k|bz|-m|1G,,thp=on", "'1G,thp=on'", "unit"},
		{"-k|bz|-m|,thp=on", "comma", NULL},
		{"-k|bz|-m|1G,thp=maybe", "thp: 'maybe'", "on nor off"},
		{"-k|bz|--cpus|0", "--cpus: 0", "1"},
		{"-k|bz|-c|9999", "-c: 9999", "254"},
		{"-k|bz|-c|255", "-c: 255", "254"},
		{"-k|bz|-c|two", "'two'", "whole number"},
		{"-k|bz|-c|99999999999999999999", "too large", "254"},
		{"-k|bz|-c|4,cors=2", "'cors'", "'cores'"},
		{"-k|bz|--protocol|phv", "'phv'", "'pvh'"},
		{"-k|bz|--on-reboot|halt", "'halt'", "exit, restart"},
		{"-k|bz|--kernel-defaults|of", "--kernel-defaults", "on nor off"},
		{"-k|bz|--timeout|0", "--timeout", "at least"},
		{"-k|bz|--timeout|5q", "'q'", "ms, s, m and h"},
		{"-k|bz|--timeout|soon", "'soon'", "30s"},
		{"-k|bz|--stop-timeout|99999h", "--stop-timeout", "8760h"},
		{"-k|bz|--name|.x", "--name: '.x'", NULL},
		{"-k|bz|--name|-x", "--name: '-x'", NULL},
		{"-k|bz|--name|a b", "'a b'", "letters"},
		{"-k|bz|--name|", "--name", NULL},
		{"-k|bz|--console|stdoi", "'stdoi'", "'stdio'"},
		{"-k|bz|--console|console", "--console", "stdio, pty"},
		{"-k|bz|--serial|file=", "no path", "file=PATH"},
		{"-k|bz|--set|memory.siz=1G", "'memory.siz'", "'memory.size'"},
		{"-k|bz|--set|hugepages=2M", "'hugepages'", "'memory.hugepages'"},
		{"-k|bz|--set|qwertyuiop=2M", "'qwertyuiop'", "schema"},
		{"-k|bz|--set|memory.size", "KEY=VALUE", NULL},
		{"-k|bz|--set|memory.size=3M", "--set memory.size: 3M", "32M"},
		{"-k|bz|--set|kernel.cmdline=x", "kernel.cmdline", "kernel.append"},
		{"-k|bz|--set|version=2", "version", "only 1"},
		{"-k|bz|-a|\xff", "-a", "UTF-8"},
		{"-k|bz|--config|/nonexistent/vm.json", "/nonexistent/vm.json", "No such file"},
		{"-k|bz|--config|/tmp", "/tmp", "directory"},
		{"-k|bz|--config|", "--config", "empty"},
		{"-k|bz|\x1b[31m", "'?[31m'", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		test_run_fails(bad[i].line, bad[i].first, bad[i].second);
}

Test(args, wrong__name_of_64_characters_and_socket_path_of_108)
{
	char line[256] = "-k|bz|--name|";

	memset(line + strlen(line), 'n', 64);
	test_run_fails(line, "--name", "63");
	strcpy(line, "-k|bz|--console|unix=");
	memset(line + strlen(line), 'p', 108);
	test_run_fails(line, "--console", "107");
}

Test(args, failure__keeps_what_was_understood)
{
	struct run_request request;
	struct vm_config c;
	struct err err;

	cr_assert_lt(test_run("-m|3M|--bogus|--result|r.json|--name|x", &c, &request, &err), 0);
	cr_expect_str_eq(c.result, "r.json");
	cr_expect_str_eq(c.name, "x");
	cr_expect_eq(c.memory.size, MIB(256), "a wrong value leaves the default");
	cr_expect(strstr(err.msg, "3M"), "the first error is told: %s", err.msg);
	vm_config_done(&c);
}

Test(args, config_file__is_read_first_wherever_it_stands)
{
	char path[32], line[128];
	struct run_request request;
	struct vm_config c;
	struct err err;

	test_write_file("{\"kernel\": {\"path\": \"from-file\"}, \"name\": \"from-file\"}", path);
	(void)snprintf(line, sizeof(line), "--name|from-flag|--config|%s", path);
	cr_assert_eq(test_run(line, &c, &request, &err), 0, "%s", err.msg);
	cr_expect_str_eq(c.name, "from-flag");
	cr_expect_str_eq(c.kernel.path, "from-file");
	vm_config_done(&c);
	(void)unlink(path);
}

Test(args, config_file__error_names_the_file_and_result_still_counts)
{
	char path[32], line[128];
	struct run_request request;
	struct vm_config c;
	struct err err;

	test_write_file("{\"kernal\": 1}", path);
	(void)snprintf(line, sizeof(line), "--config=%s|-k|bz|--result|r", path);
	cr_assert_lt(test_run(line, &c, &request, &err), 0);
	cr_expect(strstr(err.msg, path) && strstr(err.msg, "/kernel"), "%s", err.msg);
	cr_expect_str_eq(c.result, "r");
	vm_config_done(&c);
	(void)unlink(path);
}

Test(args, config_file__dash_is_standard_input)
{
	static const char json[] = "{\"kernel\": {\"path\": \"bz\"}}";
	struct run_request request;
	struct vm_config c;
	struct err err;
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	cr_assert_eq(write(fds[1], json, strlen(json)), (ssize_t)strlen(json));
	cr_assert_eq(close(fds[1]), 0);
	cr_assert_eq(dup2(fds[0], STDIN_FILENO), STDIN_FILENO);
	cr_assert_eq(test_run("--config|-", &c, &request, &err), 0, "%s", err.msg);
	cr_expect_str_eq(c.kernel.path, "bz");
	vm_config_done(&c);
}
