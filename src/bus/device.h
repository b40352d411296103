/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct device: what machine/ knows of every device. Embedded in the device's own struct.
 * reset puts it into its power-on state and free releases it (NULL-safe through device_free); both
 * run on main with every vCPU parked.
 */
#ifndef VMM_BUS_DEVICE_H
#define VMM_BUS_DEVICE_H

#include <stddef.h>

struct device;

struct device_ops {
	void (*reset)(struct device *dev);
	void (*free)(struct device *dev);
};

struct device {
	const struct device_ops *ops;
	const char *id; /* "serial0", unique in the machine */
};

static inline struct device *device_free(struct device *dev)
{
	if (dev)
		dev->ops->free(dev);
	return NULL;
}

#endif
