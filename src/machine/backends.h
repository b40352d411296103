/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configured devices take from the host: disk images, taps, sockets. Opened with the other
 * resources, before the lock-down. Main.
 */
#ifndef VMM_MACHINE_BACKENDS_H
#define VMM_MACHINE_BACKENDS_H

#include "backend/blk.h"
#include "backend/net.h"
#include "backend/pmem.h"
#include "backend/unix_socket.h"
#include "base/compiler.h"
#include "base/err.h"
#include "config/config.h"
#include "machine/helpers.h"
#include "machine/user_net.h"
#include "machine/vhost_backends.h"

struct vm_backends {
	struct blk **disks; /* as many as config->disks; NULL until opened */
	unsigned n_disks;
	struct pmem **pmem; /* as many as config->pmem */
	unsigned n_pmem;
	struct net **nets; /* as many as config->nets; NULL for `none` */
	unsigned n_nets;
	struct vhost_backend *vhosts; /* as many as config->vhost_users */
	unsigned n_vhosts;
	struct unix_listener vsock; /* fd -1: none */
	struct vm_helpers *helpers; /* NULL: none is needed */
	struct user_net *user_net;  /* NULL: none */
};

/* 0, or -errno with a message that names the option and the file. Half-opened ones are the caller's
 * to close. */
int vm_backends_open(const struct vm_config *config, struct vm_backends *ret,
		     struct err *err) must_check;
/* What --dry-run can say of them: files are opened, locked, and closed again; nothing is made. */
int vm_backends_check(const struct vm_config *config, struct err *err) must_check;
void vm_backends_close(struct vm_backends *backends);

#endif
