/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the config room: the part of config_validate() that is about devices. */
#ifndef VMM_CONFIG_VALIDATE_DEVICES_H
#define VMM_CONFIG_VALIDATE_DEVICES_H

#include "base/compiler.h"
#include "base/err.h"
#include "config/config.h"

/* 0 or -EINVAL; every value is known to be right by itself. Messages begin with a JSON pointer. */
int validate_devices(const struct vm_config *config, struct err *err) must_check;

#endif
