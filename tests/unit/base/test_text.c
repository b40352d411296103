/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"

static uint64_t size_of(const char *s)
{
	uint64_t v = 0;

	cr_assert_eq(text_parse_size(s, MIB(1), &v), 0, "%s", s);
	return v;
}

Test(text, size__bare_number_takes_the_given_unit)
{
	cr_assert_eq(size_of("512"), MIB(512));
}

Test(text, size__suffixes)
{
	cr_assert_eq(size_of("4K"), KIB(4));
	cr_assert_eq(size_of("4k"), KIB(4));
	cr_assert_eq(size_of("2MiB"), MIB(2));
	cr_assert_eq(size_of("3GB"), GIB(3));
	cr_assert_eq(size_of("1T"), TIB(1));
}

Test(text, size__nonsense_is_refused)
{
	static const char *const bad[] = {"",	  "M",	 "-1", "+1",   " 1",
					  "1.5G", "1GG", "1E", "0x10", "1 G"};
	uint64_t v = 77;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		cr_assert_eq(text_parse_size(bad[i], 1, &v), -EINVAL, "'%s'", bad[i]);
	cr_assert_eq(v, 77, "a failure leaves the output alone");
}

Test(text, size__overflow_is_a_range_error)
{
	uint64_t v;

	cr_assert_eq(text_parse_size("16777216T", 1, &v), -ERANGE);
	cr_assert_eq(text_parse_size("99999999999999999999", 1, &v), -ERANGE);
}

Test(text, duration__units_and_fractions)
{
	uint64_t ns;

	cr_assert_eq(text_parse_duration("90", &ns), 0);
	cr_assert_eq(ns, 90 * NS_PER_S);
	cr_assert_eq(text_parse_duration("1.5s", &ns), 0);
	cr_assert_eq(ns, 1500 * NS_PER_MS);
	cr_assert_eq(text_parse_duration("250ms", &ns), 0);
	cr_assert_eq(ns, 250 * NS_PER_MS);
	cr_assert_eq(text_parse_duration("2h", &ns), 0);
	cr_assert_eq(ns, 7200 * NS_PER_S);
	cr_assert_eq(text_parse_duration("5 s", &ns), -EINVAL);
	cr_assert_eq(text_parse_duration("s", &ns), -EINVAL);
	cr_assert_eq(text_parse_duration("99999999999h", &ns), -ERANGE);
}

Test(text, format__takes_the_largest_exact_unit)
{
	char buf[32];

	cr_assert_str_eq(text_format_size(GIB(2), buf, sizeof(buf)), "2G");
	cr_assert_str_eq(text_format_size(MIB(1536), buf, sizeof(buf)), "1536M");
	cr_assert_str_eq(text_format_size(5, buf, sizeof(buf)), "5");
	cr_assert_str_eq(text_format_duration(30 * NS_PER_S, buf, sizeof(buf)), "30s");
	cr_assert_str_eq(text_format_duration(1500 * NS_PER_MS, buf, sizeof(buf)), "1500ms");
	cr_assert_str_eq(text_format_duration(0, buf, sizeof(buf)), "0s");
}

Test(text, nearest__finds_the_slip_but_not_the_stranger)
{
	static const char *const names[] = {"kernel", "initrd", "append"};

	cr_assert_str_eq(text_nearest("kernal", names, 3), "kernel");
	cr_assert_str_eq(text_nearest("intird", names, 3), "initrd");
	cr_assert_null(text_nearest("zzzzzz", names, 3));
}

Test(text, str__grows_and_hands_over)
{
	struct str s = {0};
	char *text;

	for (int i = 0; i < 1000; i++)
		str_addf(&s, "%d,", i);
	str_add(&s, "end");
	text = str_steal(&s);
	cr_assert_not_null(text);
	cr_assert(strstr(text, "998,999,end"));
	free(text);
	text = str_steal(&s);
	cr_assert_str_eq(text, "");
	free(text);
}
