/* SPDX-License-Identifier: Apache-2.0 */
#include "config_test.h"

#include <errno.h>

#include "base/checked.h"

static void expect_ok(const char *line)
{
	struct run_request request;
	struct vm_config c;
	struct err err;

	cr_expect_eq(test_run(line, &c, &request, &err), 0, "%s: %s", line, err.msg);
	vm_config_done(&c);
}

Test(validate, hugepages__clash_only_with_what_was_asked_for)
{
	expect_ok("-k|bz|-m|1G,hugepages=2M");
	expect_ok("-k|bz|-m|1G,hugepages=1G,shared=on,thp=off");
	test_run_fails("-k|bz|-m|1G,hugepages=2M,shared=off", "shared=off", "hugepages=2M");
	test_run_fails("-k|bz|-m|1G,hugepages=2M,thp=on", "thp=on", "hugepages=2M");
}

Test(validate, hugepages__turn_the_default_thp_off)
{
	struct run_request request;
	struct vm_config c;
	struct err err;

	cr_assert_eq(test_run("-k|bz|-m|1G,hugepages=2M", &c, &request, &err), 0);
	cr_expect_not(c.memory.thp);
	vm_config_done(&c);
}

Test(validate, memory__is_whole_hugepages)
{
	test_run_fails("-k|bz|-m|33M,hugepages=2M", "33M is not a multiple", "32M or 34M");
	test_run_fails("-k|bz|-m|512M,hugepages=1G", "512M is not a multiple", "1G");
	expect_ok("-k|bz|-m|33M");
	expect_ok("-k|bz|-m|32M");
	expect_ok("-k|bz|-m|64T");
}

Test(validate, topology__product_is_boot)
{
	expect_ok("-k|bz|-c|254");
	expect_ok("-k|bz|-c|8,sockets=2");
	expect_ok("-k|bz|-c|8,threads=2");
	expect_ok("-k|bz|-c|8,sockets=2,cores=2,threads=2");
	test_run_fails("-k|bz|-c|8,sockets=2,cores=2", "are 4", "boot is 8");
	test_run_fails("-k|bz|-c|7,threads=2", "3 cores", "boot is 7");
	test_run_fails("-k|bz|-c|2,sockets=4", "are 4", "boot is 2");
	test_run_fails("-k|bz|-c|sockets=16,cores=16", "256", "254");
	test_run_fails("-k|bz|-c|254,sockets=254,cores=254,threads=254", "are 16387064",
		       "boot is 254");
}

static struct config_topology topology_of(const char *line)
{
	struct config_topology topology;
	struct run_request request;
	struct vm_config c;
	struct err err;

	cr_assert_eq(test_run(line, &c, &request, &err), 0, "%s", err.msg);
	topology = config_topology(&c);
	cr_expect_eq(topology.sockets * topology.cores * topology.threads, c.cpus.boot);
	vm_config_done(&c);
	return topology;
}

Test(validate, topology__missing_counts_are_filled)
{
	struct config_topology t = topology_of("-k|bz|-c|6");

	cr_expect(t.sockets == 1 && t.cores == 6 && t.threads == 1);
	t = topology_of("-k|bz|-c|8,sockets=2,threads=2");
	cr_expect(t.sockets == 2 && t.cores == 2 && t.threads == 2);
	t = topology_of("-k|bz|-c|threads=2");
	cr_expect(t.sockets == 1 && t.cores == 1 && t.threads == 2);
}

Test(validate, topology__of_garbage_divides_by_no_zero)
{
	struct vm_config c;
	struct config_topology t;

	vm_config_init(&c);
	c.cpus.sockets = c.cpus.threads = UINT32_C(0x10000);
	t = config_topology(&c);
	cr_expect_eq(t.cores, 1);
	c.cpus.boot = 0;
	c.cpus.sockets = c.cpus.threads = 0;
	t = config_topology(&c);
	cr_expect(t.sockets == 1 && t.cores == 1 && t.threads == 1);
	vm_config_done(&c);
}

Test(validate, console__needs_something_that_carries_it)
{
	expect_ok("-k|bz|--console|pty");
	expect_ok("-k|bz|--serial|stdio");
	expect_ok("-k|bz|--serial|pty|--console|none");
	expect_ok("-k|bz|--serial|console|--console|file=x");
	test_run_fails("-k|bz|--serial|file=x|--console|stdio", "nothing would carry it",
		       "--serial");
	test_run_fails("-k|bz|--serial|none|--console|pty", "nothing would carry it", "--serial");
}

Test(validate, streams__do_not_share_stdio_or_a_path)
{
	test_run_fails("-k|bz|--debugcon|stdio", "--console and --debugcon", "stdio");
	test_run_fails("-k|bz|--serial|stdio|--debugcon|stdio", "--serial and --debugcon", "stdio");
	test_run_fails("-k|bz|--console|file=x|--debugcon|file=x", "--console and --debugcon",
		       "file=x");
	expect_ok("-k|bz|--console|pty|--debugcon|pty");
	expect_ok("-k|bz|--console|file=x|--debugcon|file=y");
	expect_ok("-k|bz|--serial|stdio|--debugcon|file=y");
	expect_ok("-k|bz|--console|none|--debugcon|none");
}

/* Configurations that no parser made, such as one that a program filled in. */
Test(validate, values__are_checked_again)
{
	struct vm_config c;
	struct err err = {0};

	vm_config_init(&c);
	c.kernel.path = strdup("bz");
	cr_expect_eq(config_validate(&c, &err), 0, "%s", err.msg);
	c.memory.size = MIB(3);
	cr_expect_lt(config_validate(&c, &err), 0);
	cr_expect(strstr(err.msg, "/memory/size: 3M"), "%s", err.msg);
	c.memory.size = MIB(32);
	c.sandbox = 77;
	err = (struct err){0};
	cr_expect_lt(config_validate(&c, &err), 0);
	cr_expect(strstr(err.msg, "/sandbox: 77"), "%s", err.msg);
	c.sandbox = CONFIG_SANDBOX_OFF;
	free(c.console);
	c.console = NULL;
	err = (struct err){0};
	cr_expect_lt(config_validate(&c, &err), 0);
	cr_expect(strstr(err.msg, "/console"), "%s", err.msg);
	vm_config_done(&c);
}
