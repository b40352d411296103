/* SPDX-License-Identifier: Apache-2.0 */
/* Saves a device and loads it into another, also what a spoilt file would hold. */
#ifndef VMM_TESTS_SAVED_H
#define VMM_TESTS_SAVED_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "bus/device.h"

/* The payload of one device's section. */
struct saved {
	const struct device_ops *ops;
	uint8_t payload[64 << 10];
	size_t len;
};

void saved_take(struct saved *saved, struct device *dev);
/* What state_close() says of the load. */
int saved_load(const struct saved *saved, struct device *dev, struct err *err) must_check;
/* Loads every shorter payload and one that is a byte longer: each is refused. A device that was
 * made for it. */
void saved_check_lengths(const struct saved *saved, struct device *dev);
/* Loads the payload with each byte changed to a few others: whatever comes of it, it must be
 * survived. used() may then use the device. */
void saved_check_bytes(const struct saved *saved, struct device *dev,
		       void (*use)(struct device *dev));

#endif
