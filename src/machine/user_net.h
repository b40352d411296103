/* SPDX-License-Identifier: Apache-2.0 */
/* `--net user`: a guest's network through passt(1), which needs no privileges, and the ports of the
 * host that --publish leads to the guest. Main, before the lock-down. */
#ifndef VMM_MACHINE_USER_NET_H
#define VMM_MACHINE_USER_NET_H

#include "backend/net.h"
#include "base/compiler.h"
#include "base/err.h"
#include "config/config.h"
#include "machine/helpers.h"

struct user_net;

/*
 * Starts passt for the network number i. *ret_net is the caller's; it is given a new connection by
 * itself when passt was started again, so the loop runs no longer than it lives. 0 or -errno with a
 * message.
 */
int user_net_open(const struct vm_config *config, unsigned i, struct vm_helpers *helpers,
		  struct user_net **ret, struct net **ret_net, struct err *err) must_check;
/* After the helpers. NULL-safe, returns NULL. */
struct user_net *user_net_free(struct user_net *user_net);

#endif
