/* SPDX-License-Identifier: Apache-2.0 */
/* The table of helpers: what becomes of settings, and of settings that nobody in their right mind
 * sends. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "sandbox/helpers.h"

static const struct helper_row *const passt = &helper_table[HELPER_PASST];
static union helper_settings settings;
static struct helper_args args;

static int arguments(void)
{
	memset(&args, 0, sizeof(args));
	return passt->arguments(&settings, &args);
}

static const char *line(void)
{
	static char text[65536];

	*text = '\0';
	for (unsigned i = 0; i < args.n; i++)
		(void)strcat(strcat(text, i ? " " : ""), args.argv[i]);
	cr_assert_null(args.argv[args.n]);
	return text;
}

static void forward(const char *address, uint16_t host, uint16_t guest, bool udp)
{
	struct helper_forward *f = &settings.passt.forwards[settings.passt.n_forwards++];

	(void)strncpy(f->address, address, sizeof(f->address));
	f->host = host;
	f->guest = guest;
	f->udp = udp;
}

static void begin(void)
{
	memset(&settings, 0, sizeof(settings));
}
TestSuite(passt, .init = begin);

Test(passt, without_ports_none_is_open)
{
	cr_assert_eq(arguments(), 0);
	cr_assert_str_eq(line(), "--foreground --quiet --fd 3 --pid /proc/self/fd/4 -t none "
				 "-u none");
}

Test(passt, ports_and_addresses_and_the_mtu)
{
	settings.passt.mtu = 1400;
	forward("", 8080, 80, false);
	forward("127.0.0.1", 2222, 22, false);
	forward("::1", 5353, 53, true);
	cr_assert_eq(arguments(), 0);
	cr_assert_str_eq(line(), "--foreground --quiet --fd 3 --pid /proc/self/fd/4 --mtu 1400 "
				 "-t 8080:80 -t 127.0.0.1/2222:22 -u ::1/5353:53");
}

Test(passt, tcp_ports_are_not_open_for_udp)
{
	forward("", 8080, 80, false);
	cr_assert_eq(arguments(), 0);
	cr_assert(strstr(line(), "-t 8080:80 -u none"));
}

Test(passt, all_ports_that_fit_have_room)
{
	for (unsigned i = 0; i < HELPER_MAX_FORWARDS; i++)
		forward("aaaa:bbbb:cccc:dddd:eeee:ffff:1111:2222", 65535, 65535, false);
	settings.passt.mtu = 65535;
	cr_assert_eq(arguments(), 0);
	cr_assert(!args.full);
}

Test(passt, more_ports_than_fit_are_refused)
{
	settings.passt.n_forwards = HELPER_MAX_FORWARDS + 1;
	cr_assert_eq(arguments(), -EINVAL);
	settings.passt.n_forwards = UINT32_MAX;
	cr_assert_eq(arguments(), -EINVAL);
}

Test(passt, an_address_that_is_none_is_refused)
{
	static const char *const wrong[] = {"--help", "all",	   "127.0.0.1/",
					    "~",      "1.2.3.4,5", "eth0"};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		begin();
		forward(wrong[i], 80, 80, false);
		cr_assert_eq(arguments(), -EINVAL, "%s", wrong[i]);
	}
	begin();
	forward("", 80, 80, false);
	memset(settings.passt.forwards[0].address, '1', HELPER_ADDRESS_LEN);
	cr_assert_eq(arguments(), -EINVAL, "without an end");
}

Test(passt, port_0_and_an_mtu_beyond_all_are_refused)
{
	forward("", 0, 80, false);
	cr_assert_eq(arguments(), -EINVAL);
	begin();
	forward("", 80, 0, true);
	cr_assert_eq(arguments(), -EINVAL);
	begin();
	settings.passt.mtu = 65536;
	cr_assert_eq(arguments(), -EINVAL);
}

Test(args, what_does_not_fit_is_noticed)
{
	memset(&args, 0, sizeof(args));
	for (size_t i = 0; i < ARRAY_SIZE(args.argv) - 1; i++)
		helper_args_add(&args, "x");
	cr_assert(!args.full);
	helper_args_add(&args, "x");
	cr_assert(args.full);
	cr_assert_null(args.argv[args.n]);

	memset(&args, 0, sizeof(args));
	for (unsigned i = 0; i < 20; i++)
		helper_args_add(&args, "%01000d", 1);
	cr_assert(args.full);
	cr_assert_eq(args.n, 16);
}
