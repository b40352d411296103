/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "machine/mailbox.h"

Test(mailbox, first_request_wins_whatever_comes_later)
{
	struct mailbox box;
	struct letter letter;

	mailbox_init(&box);
	mailbox_put(&box, MAIL_RESET, 0);
	mailbox_put(&box, MAIL_EXIT, 7);
	mailbox_put(&box, MAIL_FAILED, 1);
	letter = mailbox_take(&box);
	cr_assert_eq(letter.what, MAIL_RESET);
	cr_assert_not(letter.panicked);
	cr_assert(mailbox_is_empty(&box));
	cr_assert_eq(mailbox_take(&box).what, MAIL_NONE);
}

Test(mailbox, panic_is_kept_beside_the_request)
{
	struct mailbox box;
	struct letter letter;

	mailbox_init(&box);
	mailbox_put(&box, MAIL_PANICKED, 1);
	cr_assert(mailbox_is_empty(&box), "a panicked guest runs on");
	mailbox_put(&box, MAIL_EXIT, 3);
	letter = mailbox_take(&box);
	cr_assert(letter.panicked);
	cr_assert_eq(letter.what, MAIL_EXIT);
	cr_assert_eq(letter.value, 3);
}
