/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"

Test(err, first_error_wins_and_prefix_goes_before)
{
	struct err err = {0};

	cr_assert_eq(err_set(&err, -EINVAL, "size is %d", 3), -EINVAL);
	cr_assert_eq(err_set(&err, -EIO, "later"), -EIO);
	err_prefix(&err, "--mem");
	cr_assert_str_eq(err.msg, "--mem: size is 3");
	cr_assert_eq(err.code, -EINVAL);
}

Test(err, long_text_is_cut_not_overrun)
{
	struct err err = {0};
	char long_text[4096];

	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = 0;
	cr_assert_eq(err_set(&err, -EINVAL, "%s", long_text), -EINVAL);
	err_prefix(&err, "%s", long_text);
	cr_assert_eq(strlen(err.msg), sizeof(err.msg) - 1);
}

Test(err, null_is_allowed)
{
	cr_assert_eq(err_set(NULL, -EIO, "x"), -EIO);
	err_prefix(NULL, "y");
}
