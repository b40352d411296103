/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/mailbox.h"

void mailbox_init(struct mailbox *box)
{
	*box = (struct mailbox){.first = MAIL_NONE};
	mutex_init(&box->lock);
}

void mailbox_put(struct mailbox *box, enum vm_mail what, unsigned value)
{
	mutex_lock(&box->lock);
	if (what == MAIL_PANICKED) {
		box->panicked = true;
	} else if (box->first == MAIL_NONE) {
		box->first = what;
		box->value = value;
	}
	mutex_unlock(&box->lock);
}

struct letter mailbox_take(struct mailbox *box)
{
	struct letter letter;

	mutex_lock(&box->lock);
	letter =
		(struct letter){.what = box->first, .value = box->value, .panicked = box->panicked};
	box->first = MAIL_NONE;
	box->panicked = false;
	mutex_unlock(&box->lock);
	return letter;
}

bool mailbox_is_empty(struct mailbox *box)
{
	bool empty;

	mutex_lock(&box->lock);
	empty = box->first == MAIL_NONE;
	mutex_unlock(&box->lock);
	return empty;
}
