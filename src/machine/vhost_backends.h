/* SPDX-License-Identifier: Apache-2.0 */
/* The vhost-user back ends that the configuration names, connected before the lock-down. Main. */
#ifndef VMM_MACHINE_VHOST_BACKENDS_H
#define VMM_MACHINE_VHOST_BACKENDS_H

#include "base/compiler.h"
#include "base/err.h"
#include "config/config.h"
#include "vhost/vhost_dev.h"

struct vhost_backend {
	struct vhost_dev *dev; /* NULL once a device has it */
	unsigned type;	       /* virtio 1.2, chapter 5 */
	char *what;	       /* "--vhost-user SOCK", for messages */
};

/* Waits for it, connects, and finds out what it is where the configuration doesn't say. 0 or -errno
 * with a message; vhost_backend_close() either way. */
int vhost_backend_open(const struct config_vhost_user *config, struct vhost_backend *ret,
		       struct err *err) must_check;
void vhost_backend_close(struct vhost_backend *b);

#endif
