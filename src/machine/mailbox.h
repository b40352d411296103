/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vCPU threads tell main about the run. Of what would end or reset the guest only the first is
 * kept: the rest was done by processors that had not stopped yet. A leaf lock guards it; put is for
 * vCPU threads, the others for main.
 */
#ifndef VMM_MACHINE_MAILBOX_H
#define VMM_MACHINE_MAILBOX_H

#include <stdbool.h>

#include "base/mutex.h"

enum vm_mail {
	MAIL_NONE,
	MAIL_POWER_OFF,
	MAIL_RESET,
	MAIL_EXIT,	   /* value: the guest's code */
	MAIL_TRIPLE_FAULT, /* value: the vCPU */
	MAIL_FAILED,	   /* value: the vCPU that KVM gave up on */
	MAIL_PANICKED, /* pvpanic; kept beside the others, since the guest goes on for a while */
};

struct mailbox {
	struct mutex lock;
	enum vm_mail first;
	unsigned value;
	bool panicked;
};

struct letter {
	enum vm_mail what; /* never MAIL_PANICKED */
	unsigned value;
	bool panicked;
};

void mailbox_init(struct mailbox *box);
void mailbox_put(struct mailbox *box, enum vm_mail what, unsigned value);
/* Takes what is there and leaves the box empty. */
struct letter mailbox_take(struct mailbox *box);
bool mailbox_is_empty(struct mailbox *box);

#endif
