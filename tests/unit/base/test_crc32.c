/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "base/crc32.h"

Test(crc32, check_values)
{
	uint8_t zeros[32] = {0};

	cr_assert_eq(crc32_update(0, "", 0), 0);
	cr_assert_eq(crc32_update(0, "123456789", 9), 0xcbf43926);
	cr_assert_eq(crc32_update(0, zeros, sizeof(zeros)), 0x190a55ad);
}

Test(crc32, pieces_give_what_the_whole_gives)
{
	static const char digits[] = "123456789";

	for (size_t cut = 0; cut <= 9; cut++) {
		uint32_t crc = crc32_update(0, digits, cut);

		cr_assert_eq(crc32_update(crc, &digits[cut], 9 - cut), 0xcbf43926);
	}
}
