/* SPDX-License-Identifier: Apache-2.0 */
/* What kinds of virtio devices are called (virtio 1.2, chapter 5). */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/text.h"
#include "config/config.h"
#include "config/syntax.h"

enum { MAX_TYPE = 63 };

static const struct {
	const char *name;
	unsigned type;
} types[] = {
	{"net", VIRTIO_ID_NET}, {"blk", VIRTIO_ID_BLOCK},	{"scsi", VIRTIO_ID_SCSI},
	{"rng", VIRTIO_ID_RNG}, {"vsock", VIRTIO_ID_VSOCK},	{"i2c", 34},
	{"gpio", 41},		{"console", VIRTIO_ID_CONSOLE}, {"sound", 25},
};

unsigned config_virtio_type(const char *text)
{
	uint64_t number;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(text, types[i].name) == 0)
			return types[i].type;
	return text_parse_uint(text, &number) == 0 && number <= MAX_TYPE ? (unsigned)number : 0;
}

/* Devices that need more of the front end than to be passed on. */
static const char *not_yet(unsigned type)
{
	switch (type) {
	case VIRTIO_ID_INPUT:
		return "input devices";
	case VIRTIO_ID_FS:
		return "file systems";
	default:
		return NULL;
	}
}

static unsigned any_type(const char *text)
{
	if (strcmp(text, "input") == 0)
		return VIRTIO_ID_INPUT;
	return strcmp(text, "fs") == 0 ? VIRTIO_ID_FS : config_virtio_type(text);
}

int syntax_check_virtio_type(const char *text, struct err *err)
{
	unsigned type = any_type(text);
	const char *missing = not_yet(type);

	if (missing)
		return err_set(err, -EINVAL, "'%s': %s are not supported here yet", text, missing);
	if (type == 0)
		return err_set(err, -EINVAL,
			       "'%s' is no type: blk, console, gpio, i2c, net, rng, scsi, sound, "
			       "vsock, or the number of a virtio device, 1 to %d",
			       text, MAX_TYPE);
	return 0;
}
