/* SPDX-License-Identifier: Apache-2.0 */
/* Asks whether the kernel's vhost back ends can be used; for `vmm doctor`. Any thread; keeps
 * nothing open. */
#ifndef VMM_VHOST_PROBE_H
#define VMM_VHOST_PROBE_H

#include <stdint.h>

#include "base/compiler.h"

/*
 * Opens a vhost device such as /dev/vhost-net and asks for its features (VHOST_GET_FEATURES). 0, or
 * -errno: -ENOENT or -ENXIO without the module, -EACCES or -EPERM without the permission, -ENOTTY
 * when path is something else.
 */
int vhost_kernel_probe(const char *path, uint64_t *ret_features) must_check;

#endif
