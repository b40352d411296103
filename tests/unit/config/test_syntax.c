/* SPDX-License-Identifier: Apache-2.0 */
#include "config_test.h"

#include <errno.h>

#include "base/compiler.h"
#include "config/syntax.h"

Test(syntax, mac__is_six_bytes_of_one_interface)
{
	static const uint8_t want[CONFIG_MAC_LEN] = {0x52, 0x54, 0, 0xab, 0xCD, 0xff};
	static const char *const bad[] = {
		"",
		"52",
		"52:54:00:12:34",
		"52:54:00:12:34:56:78",
		"52:54:00:12:34:5",
		"52:54:00:12:34:567",
		"52-54-00-12-34-56",
		"g2:54:00:12:34:56",
		" 52:54:00:12:34:56",
		"52:54:00:12:34:56 ",
		"52:54:00:12:34:",
		"525400123456",
		"+2:54:00:12:34:56",
		"01:00:5e:00:00:01",
		"ff:ff:ff:ff:ff:ff",
		"00:00:00:00:00:00",
	};
	uint8_t mac[CONFIG_MAC_LEN];

	cr_expect_eq(config_parse_mac("52:54:00:aB:Cd:ff", mac), 0);
	cr_expect_arr_eq(mac, want, sizeof(want));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {0};

		cr_expect_eq(config_parse_mac(bad[i], mac), -EINVAL, "%s", bad[i]);
		cr_expect_arr_eq(mac, want, sizeof(want), "untouched by %s", bad[i]);
		cr_expect_eq(syntax_check_mac(bad[i], &err), -EINVAL, "%s", bad[i]);
		cr_expect(strstr(err.msg, bad[i]), "%s", err.msg);
	}
}

static void expect_forward(const char *text, const char *address, unsigned host, unsigned guest,
			   bool udp)
{
	struct config_forward f = {.address = "x", .host = 1};
	struct err err = {0};

	cr_assert_eq(config_parse_publish(text, &f, &err), 0, "%s: %s", text, err.msg);
	cr_expect_str_eq(f.address, address, "%s", text);
	cr_expect_eq(f.host, host, "%s", text);
	cr_expect_eq(f.guest, guest, "%s", text);
	cr_expect_eq(f.udp, udp, "%s", text);
}

Test(syntax, publish__has_an_address_two_ports_and_a_protocol)
{
	expect_forward("8080:80", "", 8080, 80, false);
	expect_forward("8080:80/tcp", "", 8080, 80, false);
	expect_forward("53:5353/udp", "", 53, 5353, true);
	expect_forward("127.0.0.1:1:65535", "127.0.0.1", 1, 65535, false);
	expect_forward("0.0.0.0:1:2/udp", "0.0.0.0", 1, 2, true);
	expect_forward("[::1]:8080:80", "::1", 8080, 80, false);
	expect_forward("[fe80:0:0:0:1:2:3:4]:8080:80/udp", "fe80:0:0:0:1:2:3:4", 8080, 80, true);
}

Test(syntax, publish__says_what_is_wrong)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
		{"", "port of the host"},
		{"80", "port of the host"},
		{":80", "port of the host"},
		{"0:80", "port of the host"},
		{"65536:80", "port of the host"},
		{"-1:80", "port of the host"},
		{" 1:80", "port of the host"},
		{"99999999999999999999:80", "port of the host"},
		{"80-90:80", "port of the host"},
		{"80:", "port of the guest"},
		{"80:0", "port of the guest"},
		{"80:65536", "port of the guest"},
		{"80:x", "port of the guest"},
		{"80:80 ", "port of the guest"},
		{"80:80/", "/tcp"},
		{"80:80/sctp", "/tcp"},
		{"80:80/tcp/udp", "/tcp"},
		{"1.2.3:80:80", "address"},
		{"host:80:80", "address"},
		{":80:80", "address"},
		{"::1:80:80", "address"},
		{"[::1:80:80", "address"},
		{"[::1]80:80", "address"},
		{"[]:80:80", "address"},
		{"[1.2.3.4]:80:80", "address"},
		{"[::g]:80:80", "address"},
		{"[::1]", "address"},
		{"[::1]:", "port of the host"},
		{"[fe80:0000:0000:0000:0001:0002:0003:0004:0005:0006]:80:80", "address"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct config_forward f;
		struct err err = {0};

		cr_expect_eq(config_parse_publish(bad[i].text, &f, &err), -EINVAL, "accepted: %s",
			     bad[i].text);
		cr_expect(strstr(err.msg, bad[i].words), "no '%s' in '%s'", bad[i].words, err.msg);
		cr_expect(strstr(err.msg, "HOST:GUEST"), "%s", err.msg);
	}
}

Test(syntax, interface__is_a_name_that_the_kernel_takes)
{
	static const char *const bad[] = {
		"", ".", "..", "a/b", "a b", "a:b", "a%d", "a\tb", "abcdefghijklmnop"};

	cr_expect_eq(syntax_check_interface("tap0", NULL), 0);
	cr_expect_eq(syntax_check_interface("abcdefghijklmno", NULL), 0);
	cr_expect_eq(syntax_check_interface("vm-1.0_x@y", NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_eq(syntax_check_interface(bad[i], NULL), -EINVAL, "%s", bad[i]);
}

Test(syntax, stream__is_a_unix_socket)
{
	struct config_net net = {0};
	char path[120] = "unix:";

	cr_expect_eq(syntax_check_stream("unix:/x", NULL), 0);
	cr_expect_eq(syntax_check_stream("unix=/x", NULL), -EINVAL);
	cr_expect_eq(syntax_check_stream("unix:", NULL), -EINVAL);
	cr_expect_eq(syntax_check_stream("/x", NULL), -EINVAL);
	memset(path + 5, 'p', 107);
	cr_expect_eq(syntax_check_stream(path, NULL), 0);
	path[5 + 107] = 'p';
	cr_expect_eq(syntax_check_stream(path, NULL), -ENAMETOOLONG);
	cr_expect_null(config_stream_path(&net));
	net.stream = path;
	cr_expect_eq(config_stream_path(&net), path + 5);
}

static void expect_pins(const char *pin, const int *cpus, unsigned n)
{
	struct vm_config c;

	vm_config_init(&c);
	c.iothreads.pin = pin ? strdup(pin) : NULL;
	for (unsigned i = 0; i < n; i++)
		cr_expect_eq(config_pin_cpu(&c, i), cpus[i], "%s: %u", pin ? pin : "none", i);
	vm_config_done(&c);
}

Test(syntax, pin__gives_each_thread_its_processor)
{
	expect_pins(NULL, (const int[]){-1, -1}, 2);
	expect_pins("3", (const int[]){3, 3, 3}, 3);
	expect_pins("0:12:8191", (const int[]){0, 12, 8191, 0, 12}, 5);
	expect_pins("1:x", (const int[]){1, -1}, 2);
}

Test(syntax, pin__is_numbers_with_colons_between)
{
	static const char *const bad[] = {"",
					  ":",
					  "1:",
					  "1::2",
					  ":1",
					  "1,2",
					  "-1",
					  "1:x",
					  "8192",
					  "1 :2",
					  "99999999999999999999"};

	cr_expect_eq(syntax_check_pin("0", NULL), 0);
	cr_expect_eq(syntax_check_pin("0:1:2", NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_expect_eq(syntax_check_pin(bad[i], NULL), -EINVAL, "accepted: %s", bad[i]);
}
