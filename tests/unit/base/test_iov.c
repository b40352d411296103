/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/iov.h"

static char bytes[] = "abcdefghij";

/* "abc", "d", "efgh" */
static struct iov three(struct iovec at[3])
{
	at[0] = (struct iovec){bytes, 3};
	at[1] = (struct iovec){bytes + 3, 1};
	at[2] = (struct iovec){bytes + 4, 4};
	return (struct iov){at, 3};
}

Test(iov, skip__drops_whole_pieces_and_parts)
{
	struct iovec at[3];
	struct iov v = three(at);

	cr_assert_eq(iov_bytes(&v), 8);
	iov_skip(&v, 2);
	cr_assert_eq(v.n, 3);
	cr_assert_eq(*(char *)v.at->iov_base, 'c');
	iov_skip(&v, 2);
	cr_assert_eq(v.n, 1);
	cr_assert_eq(*(char *)v.at->iov_base, 'e');
	iov_skip(&v, 1000);
	cr_assert_eq(v.n, 0);
	cr_assert_eq(iov_bytes(&v), 0);
}

Test(iov, copy_out__stops_at_what_there_is)
{
	struct iovec at[3];
	struct iov v = three(at);
	char buf[16] = {0};

	cr_assert_eq(iov_copy_out(&v, buf, 5), 5);
	cr_assert_str_eq(buf, "abcde");
	cr_assert_eq(iov_copy_out(&v, buf, sizeof(buf)), 8);
	cr_assert_str_eq(buf, "abcdefgh");
	cr_assert_eq(v.n, 3, "nothing was dropped");
}

Test(iov, copy_in__stops_at_the_room_there_is)
{
	char to[8] = {0};
	struct iovec at[2] = {{to, 2}, {to + 4, 3}};
	struct iov v = {at, 2};

	cr_assert_eq(iov_copy_in(&v, "123456789", 9), 5);
	cr_assert_arr_eq(to,
			 "12\0\0"
			 "345\0",
			 8);
	cr_assert_eq(iov_copy_in(&v, "x", 1), 1);
	cr_assert_arr_eq(to,
			 "x2\0\0"
			 "345\0",
			 8);
}

/* For every place to cut: the head, and when it is dropped by pieces of `step`, the rest. */
static void check_cut(uint64_t len, uint64_t step)
{
	struct iovec at[3];
	struct iov v = three(at);
	struct iov_cut cut = iov_cut(&v, len);
	char buf[16] = {0};

	cr_assert_eq(iov_bytes(&v), len);
	cr_assert_eq(iov_copy_out(&v, buf, sizeof(buf)), len);
	cr_assert_eq(memcmp(buf, bytes, len), 0);
	for (uint64_t left = len; left;) {
		uint64_t n = left < step ? left : step;

		iov_skip(&v, n);
		left -= n;
		cr_assert_eq(iov_bytes(&v), left);
	}
	iov_uncut(&v, &cut);
	cr_assert_eq(iov_bytes(&v), 8 - len);
	memset(buf, 0, sizeof(buf));
	cr_assert_eq(iov_copy_out(&v, buf, sizeof(buf)), 8 - len);
	cr_assert_eq(memcmp(buf, bytes + len, 8 - len), 0);
}

Test(iov, cut__hides_the_rest_until_the_head_is_dropped)
{
	for (uint64_t len = 1; len <= 8; len++)
		for (uint64_t step = 1; step <= 8; step++)
			check_cut(len, step);
}

Test(iov, limit_hides_the_rest)
{
	char a[3] = "abc", b[5] = "defgh";

	for (size_t len = 0; len <= 10; len++) {
		struct iovec row[] = {{a, 3}, {b, 0}, {b, 5}};
		struct iov v = {row, 3};
		char out[9] = {0};

		iov_limit(&v, len);
		cr_assert_eq(iov_bytes(&v), len < 8 ? len : 8);
		cr_assert_eq(iov_copy_out(&v, out, 8), len < 8 ? len : 8);
		cr_assert_arr_eq(out, "abcdefgh", len < 8 ? len : 8);
	}
}
