/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that need more than one value. The limits of single values stand in the schema. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/text.h"
#include "config/config.h"
#include "config/schema.h"
#include "config/tree.h"
#include "config/validate_devices.h"

static int check_rows(const struct vm_config *config, struct err *err)
{
	return tree_check(&schema_main, config, err);
}

static int check_kernel(const struct vm_config *config, struct err *err)
{
	if (!config->kernel.path)
		return err_set(
			err, -EINVAL,
			"no kernel is given: use --kernel FILE, or kernel.path in the JSON file");
	return 0;
}

static int check_hugepages(const struct vm_config *config, struct err *err)
{
	uint64_t page = config->memory.hugepages, size = config->memory.size;
	char shown[32], page_shown[32], below[32], above[32];

	if (!page)
		return 0;
	text_format_size(page, page_shown, sizeof(page_shown));
	if (config->memory.shared == CONFIG_SHARED_OFF)
		return err_set(err, -EINVAL,
			       "memory: hugepages=%s and shared=off exclude each other, reserved "
			       "huge pages "
			       "are always shared: leave one of them out",
			       page_shown);
	if (config->memory.thp)
		return err_set(err, -EINVAL,
			       "memory: hugepages=%s and thp=on exclude each other, transparent "
			       "huge pages "
			       "are for memory without reserved ones: use thp=off or hugepages=off",
			       page_shown);
	if (is_aligned(size, page))
		return 0;
	return err_set(err, -EINVAL,
		       "memory: size %s is not a multiple of hugepages=%s: use %s or %s",
		       text_format_size(size, shown, sizeof(shown)), page_shown,
		       text_format_size(MAX(align_down(size, page), page), below, sizeof(below)),
		       text_format_size(align_up(size, page), above, sizeof(above)));
}

static int check_topology(const struct vm_config *config, struct err *err)
{
	struct config_topology t = config_topology(config);
	uint64_t product = (uint64_t)t.sockets * t.cores * t.threads;

	if (product == config->cpus.boot)
		return 0;
	return err_set(err, -EINVAL,
		       "cpus: %" PRIu32 " sockets x %" PRIu32 " cores x %" PRIu32
		       " threads are %" PRIu64 ", but boot is %" PRIu32
		       ": sockets x cores x threads must be boot",
		       t.sockets, t.cores, t.threads, product, config->cpus.boot);
}

/* What is above memory.size is for virtio-mem, which counts in blocks and the guest in sections. */
static int check_plug(const struct vm_config *config, struct err *err)
{
	uint64_t max = config->memory.max, size = config->memory.size, block = config->memory.block;
	uint64_t step = MAX(block, MIB(128)), spare = max > size ? max - size : 0;
	char a[32], b[32], c[32];

	if (!max && config->memory.plugged)
		return err_set(err, -EINVAL,
			       "memory: plugged=%s needs max=, the size with all memory plugged",
			       text_format_size(config->memory.plugged, a, sizeof(a)));
	if (!max)
		return 0;
	if (!spare || !is_aligned(spare, step))
		return err_set(err, -EINVAL,
			       "memory: max=%s must be more than the size %s, by a multiple of %s",
			       text_format_size(max, a, sizeof(a)),
			       text_format_size(size, b, sizeof(b)),
			       text_format_size(step, c, sizeof(c)));
	if (block < config->memory.hugepages)
		return err_set(err, -EINVAL,
			       "memory: block=%s is less than a page of hugepages=%s: use block=%s",
			       text_format_size(block, a, sizeof(a)),
			       text_format_size(config->memory.hugepages, b, sizeof(b)),
			       text_format_size(config->memory.hugepages, c, sizeof(c)));
	if (config->memory.plugged > spare || !is_aligned(config->memory.plugged, block))
		return err_set(err, -EINVAL,
			       "memory: plugged=%s must be a multiple of block=%s, at most %s",
			       text_format_size(config->memory.plugged, a, sizeof(a)),
			       text_format_size(block, b, sizeof(b)),
			       text_format_size(spare, c, sizeof(c)));
	return 0;
}

static bool is(const char *stream, const char *word)
{
	return strcmp(stream, word) == 0;
}

static int check_carrier(const struct vm_config *config, struct err *err)
{
	bool serial = is(config->serial, "console"), hvc = is(config->hvc, "console");

	if (serial && hvc)
		return err_set(err, -EINVAL,
			       "console: --serial and --hvc can't both carry it: give one of them "
			       "a stream of its own, or none");
	if (serial || hvc || is(config->console, "none"))
		return 0;
	return err_set(err, -EINVAL,
		       "console: --console %s is given, but nothing would carry it while --serial "
		       "is %s and --hvc is %s: use --serial console, --hvc console, or --console "
		       "none",
		       config->console, config->serial, config->hvc);
}

/* What a stream takes for itself alone: stdio, and each path. */
static bool is_exclusive(const char *stream)
{
	return is(stream, "stdio") || strchr(stream, '=');
}

struct stream_user {
	const char *name, *stream;
};

static struct stream_user stream_user(const struct vm_config *config, unsigned i)
{
	const struct stream_user fixed[] = {{"console", config->console},
					    {"serial", config->serial},
					    {"hvc", config->hvc},
					    {"debugcon", config->debugcon}};

	if (i < ARRAY_SIZE(fixed))
		return fixed[i];
	i -= (unsigned)ARRAY_SIZE(fixed);
	if (i < config->n_ports)
		return (struct stream_user){"port", config->ports[i].stream};
	return (struct stream_user){NULL, NULL};
}

static int check_shared_streams(const struct vm_config *config, struct err *err)
{
	struct stream_user a, b;

	for (unsigned i = 0; (a = stream_user(config, i)).name; i++)
		for (unsigned j = 0; j < i; j++) {
			b = stream_user(config, j);
			if (!is_exclusive(a.stream) || !is(a.stream, b.stream))
				continue;
			return err_set(
				err, -EINVAL,
				"%s: --%s and --%s are both on %s, which only one can have: give "
				"one of them another stream, or none",
				a.name, b.name, a.name, a.stream);
		}
	return 0;
}

int config_validate(const struct vm_config *config, struct err *err)
{
	static int (*const checks[])(const struct vm_config *, struct err *) = {
		check_rows,	check_kernel,  check_hugepages,	     check_plug,
		check_topology, check_carrier, check_shared_streams, validate_devices,
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(checks); i++)
		r = checks[i](config, err);
	return r;
}
