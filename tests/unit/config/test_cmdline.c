/* SPDX-License-Identifier: Apache-2.0 */
#include "config_test.h"

static void expect_cmdline(const char *line, const char *expected)
{
	struct run_request request;
	struct vm_config c;
	struct err err;
	char *cmdline;

	cr_assert_eq(test_run(line, &c, &request, &err), 0, "%s: %s", line, err.msg);
	cmdline = config_cmdline(&c);
	cr_expect_str_eq(cmdline, expected, "%s", line);
	free(cmdline);
	vm_config_done(&c);
}

Test(cmdline, defaults__come_first)
{
	expect_cmdline("-k|bz", "console=ttyS0 panic=-1");
	expect_cmdline("-k|bz|-a|", "console=ttyS0 panic=-1");
	expect_cmdline("-k|bz|-a|quiet root=/dev/vda",
		       "console=ttyS0 panic=-1 quiet root=/dev/vda");
}

Test(cmdline, defaults__can_be_turned_off)
{
	expect_cmdline("-k|bz|--kernel-defaults|off", "");
	expect_cmdline("-k|bz|--kernel-defaults|off|-a|x", "x");
}

Test(cmdline, console__is_not_added_to_one_that_is_there)
{
	expect_cmdline("-k|bz|-a|console=tty0", "panic=-1 console=tty0");
	expect_cmdline("-k|bz|-a|a console=ttyS0,115200 console=tty0",
		       "panic=-1 a console=ttyS0,115200 console=tty0");
	expect_cmdline("-k|bz|-a|\"console=ttyS0\"", "panic=-1 \"console=ttyS0\"");
	expect_cmdline("-k|bz|-a|consoleblank=0", "console=ttyS0 panic=-1 consoleblank=0");
	expect_cmdline("-k|bz|-a|earlyconsole=x", "console=ttyS0 panic=-1 earlyconsole=x");
}

Test(cmdline, console__follows_the_serial_port)
{
	expect_cmdline("-k|bz|--serial|none", "panic=-1");
	expect_cmdline("-k|bz|--serial|pty", "console=ttyS0 panic=-1");
	expect_cmdline("-k|bz|--console|none", "console=ttyS0 panic=-1");
}

Test(cmdline, console__is_hvc0_where_that_carries_it)
{
	expect_cmdline("-k|bz|--hvc|console", "console=hvc0 panic=-1");
	expect_cmdline("-k|bz|--hvc|console|--serial|pty", "console=hvc0 panic=-1");
	expect_cmdline("-k|bz|--hvc|pty", "console=ttyS0 panic=-1");
	expect_cmdline("-k|bz|--hvc|pty|--serial|none", "console=hvc0 panic=-1");
	expect_cmdline("-k|bz|--hvc|none|--serial|none", "panic=-1");
	expect_cmdline("-k|bz|--hvc|console|-a|console=ttyS0", "panic=-1 console=ttyS0");
	expect_cmdline("-k|bz|--hvc|console|--kernel-defaults|off", "");
}

Test(cmdline, panic__is_not_added_to_one_that_is_there)
{
	expect_cmdline("-k|bz|-a|panic=5", "console=ttyS0 panic=5");
	expect_cmdline("-k|bz|-a|x panic", "console=ttyS0 x panic");
	expect_cmdline("-k|bz|-a|panic_on_warn=1", "console=ttyS0 panic=-1 panic_on_warn=1");
	expect_cmdline("-k|bz|-a|oops=panic", "console=ttyS0 panic=-1 oops=panic");
}

Test(cmdline, panic__is_not_added_where_the_guest_shall_wait)
{
	expect_cmdline("-k|bz|--on-panic|wait", "console=ttyS0");
}

Test(cmdline, quotes__hide_blanks)
{
	expect_cmdline("-k|bz|-a|x=\"a console=tty0 panic=1\"",
		       "console=ttyS0 panic=-1 x=\"a console=tty0 panic=1\"");
	expect_cmdline("-k|bz|-a|x=\"a \" panic=1", "console=ttyS0 x=\"a \" panic=1");
	expect_cmdline("-k|bz|-a|x=\"open panic=1", "console=ttyS0 panic=-1 x=\"open panic=1");
}

Test(cmdline, init_arguments__stay_last_and_do_not_count)
{
	expect_cmdline("-k|bz|-a|-- panic=5 console=x",
		       "console=ttyS0 panic=-1 -- panic=5 console=x");
	expect_cmdline("-k|bz|-a|quiet  --  b a", "console=ttyS0 panic=-1 quiet  --  b a");
	expect_cmdline("-k|bz|-a|--x panic=5", "console=ttyS0 --x panic=5");
	expect_cmdline("-k|bz|-a|panic=5 --", "console=ttyS0 panic=5 --");
}
