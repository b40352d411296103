/* SPDX-License-Identifier: Apache-2.0 */
/* The vhost-user back ends that the configuration names, connected before the lock-down. Main. */
#ifndef VMM_MACHINE_VHOST_BACKENDS_H
#define VMM_MACHINE_VHOST_BACKENDS_H

#include "base/compiler.h"
#include "base/err.h"
#include "config/config.h"
#include "devices/vhost_device.h"
#include "event/loop.h"
#include "vhost/vhost_dev.h"

struct vm;

struct vhost_backend {
	struct vhost_dev *dev; /* NULL once a device has it */
	unsigned type;	       /* virtio 1.2, chapter 5 */
	char *what;	       /* "--vhost-user SOCK", for messages */

	/* Events. The device's loop counts, main tells. */
	struct vm *vm;	/* NULL: nobody is told yet */
	const char *id; /* of the device */
	struct vhost_watch watch;
	struct loop_work news;
	_Atomic unsigned lost, back;
	unsigned said_lost, said_back;
};

/* Waits for it, connects, and finds out what it is where the configuration doesn't say. 0 or -errno
 * with a message; vhost_backend_close() either way. */
int vhost_backend_open(const struct config_vhost_user *config, struct vhost_backend *ret,
		       struct err *err) must_check;
/* What its device is to tell, which is made next: events of the VM from now on. id is borrowed. */
struct vhost_watch *vhost_backend_watch(struct vhost_backend *b, struct vm *vm, const char *id);
void vhost_backend_close(struct vhost_backend *b);

#endif
