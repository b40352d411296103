/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "base/list.h"

struct item {
	int value;
	struct list link;
};

static struct list head;
static struct item items[4];

static void set_up(void)
{
	list_init(&head);
	for (int i = 0; i < 4; i++) {
		items[i].value = i;
		list_init(&items[i].link);
		cr_assert(list_is_empty(&items[i].link));
	}
}

TestSuite(list, .init = set_up);

static void assert_holds(const int *values, int n)
{
	struct list *at = head.next;

	for (int i = 0; i < n; i++, at = at->next) {
		cr_assert_neq(at, &head);
		cr_assert_eq(list_entry(at, struct item, link)->value, values[i]);
		cr_assert_eq(at->next->prev, at);
	}
	cr_assert_eq(at, &head);
}

Test(list, keeps_the_order_in_which_they_came)
{
	cr_assert(list_is_empty(&head));
	for (int i = 0; i < 4; i++)
		list_add_tail(&head, &items[i].link);
	assert_holds((int[]){0, 1, 2, 3}, 4);
	list_remove(&items[0].link);
	list_remove(&items[2].link);
	assert_holds((int[]){1, 3}, 2);
	list_add_tail(&head, &items[2].link);
	assert_holds((int[]){1, 3, 2}, 3);
}

Test(list, member_that_is_in_none_may_be_removed)
{
	list_remove(&items[0].link);
	list_add_tail(&head, &items[0].link);
	list_remove(&items[0].link);
	list_remove(&items[0].link);
	cr_assert(list_is_empty(&head));
	cr_assert(list_is_empty(&items[0].link));
}
