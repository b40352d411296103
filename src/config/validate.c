/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that need more than one value. The limits of single values stand in the schema. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/text.h"
#include "config/config.h"
#include "config/schema.h"
#include "config/value.h"

/* Every value against its row, for configurations that were not made by the parsers. */
static int check_rows(const struct vm_config *config, struct err *err)
{
	char pointer[SCHEMA_POINTER_LEN];

	for (size_t i = 0; i < schema_n_rows; i++) {
		const struct schema_row *row = &schema_rows[i];
		struct err why = {0};

		if (row->name && value_check(row, config, &why) < 0)
			return err_set(err, why.code, "%s: %s", schema_pointer(row, pointer),
				       why.msg);
	}
	return 0;
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

static int check_carrier(const struct vm_config *config, struct err *err)
{
	if (strcmp(config->serial, "console") == 0 || strcmp(config->console, "none") == 0)
		return 0;
	return err_set(
		err, -EINVAL,
		"console: --console %s is given, but nothing would carry it while --serial is %s: "
		"use --serial console, or --console none",
		config->console, config->serial);
}

/* What a stream takes for itself alone: stdio, and each path. */
static bool is_exclusive(const char *stream)
{
	return strcmp(stream, "stdio") == 0 || strchr(stream, '=');
}

static int check_shared_streams(const struct vm_config *config, struct err *err)
{
	const struct {
		const char *name, *stream;
	} users[] = {{"console", config->console},
		     {"serial", config->serial},
		     {"debugcon", config->debugcon}};

	for (size_t i = 0; i < ARRAY_SIZE(users); i++)
		for (size_t j = 0; j < i; j++)
			if (is_exclusive(users[i].stream) &&
			    strcmp(users[i].stream, users[j].stream) == 0)
				return err_set(err, -EINVAL,
					       "%s: --%s and --%s are both on %s, which only one "
					       "can have: "
					       "give one of them another stream, or none",
					       users[i].name, users[j].name, users[i].name,
					       users[i].stream);
	return 0;
}

int config_validate(const struct vm_config *config, struct err *err)
{
	static int (*const checks[])(const struct vm_config *, struct err *) = {
		check_rows,	check_kernel,  check_hugepages,
		check_topology, check_carrier, check_shared_streams,
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(checks); i++)
		r = checks[i](config, err);
	return r;
}
