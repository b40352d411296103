/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "cli/attach_keys.h"

/* What the guest gets of `typed`. */
static void expect_keys(struct attach_keys *keys, const char *typed, const char *guest)
{
	char buf[64];
	size_t n = strlen(typed);

	(void)strcpy(buf, typed);
	n = attach_keys_filter(keys, buf, n);
	buf[n] = '\0';
	cr_assert_str_eq(buf, guest);
}

Test(attach_keys, go_to_the_guest)
{
	struct attach_keys keys = {0};

	expect_keys(&keys, "ls -l\r\003\032", "ls -l\r\003\032");
	cr_assert_not(keys.detach);
	cr_assert_not(keys.help);
}

Test(attach_keys, the_escape_may_be_split_between_two_reads)
{
	struct attach_keys keys = {0};

	expect_keys(&keys, "a\001", "a");
	cr_assert_not(keys.detach);
	expect_keys(&keys, "dlost", "");
	cr_assert(keys.detach);
}

Test(attach_keys, what_comes_before_the_detaching_still_counts)
{
	struct attach_keys keys = {0};

	expect_keys(&keys, "exit\r\001dmore", "exit\r");
	cr_assert(keys.detach);
}

Test(attach_keys, an_escaped_escape_is_one)
{
	struct attach_keys keys = {0};

	expect_keys(&keys, "\001a\001\001d", "\001\001d");
	cr_assert_not(keys.detach);
}

Test(attach_keys, help_and_unknown_keys_are_not_for_the_guest)
{
	struct attach_keys keys = {0};

	expect_keys(&keys, "x\001hy\001xz", "xyz");
	cr_assert(keys.help);
	cr_assert_not(keys.detach);
}
