/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults, life and printing of struct vm_config. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "config/config.h"
#include "config/load.h"
#include "config/schema.h"
#include "config/tree.h"
#include "config/value.h"

DEFINE_CLEANUP(json_t *, json_decref);

/* One count of the topology: 1 where it isn't given, and no product overflows. */
static uint32_t count_or_one(uint32_t n)
{
	return n ? MIN(n, CONFIG_MAX_CPUS + 1U) : 1;
}

void vm_config_init(struct vm_config *config)
{
	*config = (struct vm_config){0};
	tree_init(&schema_main, config);
}

void vm_config_done(struct vm_config *config)
{
	tree_done(&schema_main, config);
}

static bool given(const struct config_draft *draft, const char *object, const char *name)
{
	return draft->given[schema_find_name(object, name) - schema_rows];
}

static bool is_console(const char *stream)
{
	return stream && strcmp(stream, "console") == 0;
}

static void set_none(struct vm_config *config, const char *name)
{
	int r = value_set(schema_find_name(NULL, name), config, "none", NULL);

	vmm_assert(r == 0 || r == -ENOMEM);
}

void config_resolve(struct config_draft *draft)
{
	struct vm_config *config = draft->config;

	if (config->memory.hugepages && !given(draft, "memory", "thp"))
		config->memory.thp = false;
	if (config->memory.hugepages > config->memory.block && !given(draft, "memory", "block"))
		config->memory.block = config->memory.hugepages;
	if (is_console(config->hvc) && !given(draft, NULL, "serial"))
		set_none(config, "serial");
	if (config->serial && !is_console(config->serial) && !is_console(config->hvc) &&
	    !given(draft, NULL, "console"))
		set_none(config, "console");
	if (!given(draft, "cpus", "boot") &&
	    (config->cpus.sockets || config->cpus.cores || config->cpus.threads))
		config->cpus.boot = count_or_one(config->cpus.sockets) *
				    count_or_one(config->cpus.cores) *
				    count_or_one(config->cpus.threads);
}

struct config_topology config_topology(const struct vm_config *config)
{
	struct config_topology t = {
		.sockets = count_or_one(config->cpus.sockets),
		.cores = config->cpus.cores,
		.threads = count_or_one(config->cpus.threads),
	};

	if (!t.cores)
		t.cores = count_or_one(config->cpus.boot / (t.sockets * t.threads));
	return t;
}

/* The object that holds the row's key, made on the way; borrowed. */
static json_t *object_for(json_t *root, const struct schema_row *row)
{
	json_t *object = root;

	if (row->object) {
		object = json_object_get(root, row->object);
		if (!object && json_object_set_new(root, row->object, json_object()) == 0)
			object = json_object_get(root, row->object);
	}
	return object;
}

static json_t *row_to_json(const struct schema_row *row, const struct vm_config *config)
{
	_cleanup_free_ char *cmdline = NULL;

	if (schema_is_group(row))
		return tree_group_to_json(row, config);
	if (row->type != VALUE_CMDLINE)
		return value_to_json(row, config);
	cmdline = config_cmdline(config);
	return cmdline ? json_string(cmdline) : NULL;
}

/* Is there something to print of it? */
static bool is_shown(const struct schema_row *row, const struct vm_config *config)
{
	if (schema_is_group(row))
		return tree_count(row, config) > 0;
	return row->name && (row->type == VALUE_CMDLINE || value_is_set(row, config));
}

static int add_row(json_t *root, const struct schema_row *row, const struct vm_config *config)
{
	json_t *value;

	if (!is_shown(row, config))
		return 0;
	value = row_to_json(row, config);
	/* json_object_set_new() takes value in any case and refuses NULL. */
	return json_object_set_new(object_for(root, row), row->name, value) < 0 ? -ENOMEM : 0;
}

static json_t *config_tree(const struct vm_config *config)
{
	json_t *root = json_object();
	int r = root ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < schema_n_rows; i++)
		r = add_row(root, &schema_rows[i], config);
	if (r < 0) {
		json_decref(root);
		return NULL;
	}
	return root;
}

int config_print(const struct vm_config *config, FILE *out)
{
	_cleanup_(json_decref_cleanup) json_t *root = config_tree(config);

	if (!root)
		return -ENOMEM;
	if (json_dumpf(root, out, JSON_INDENT(2)) < 0 || fputc('\n', out) == EOF ||
	    fflush(out) == EOF)
		return -EIO;
	return 0;
}

char *config_to_json(const struct vm_config *config)
{
	_cleanup_(json_decref_cleanup) json_t *root = config_tree(config);

	return root ? json_dumps(root, JSON_COMPACT) : NULL;
}
