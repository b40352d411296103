/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON configuration: any bytes may come. What is valid must print, and its print must load and
 * print the same again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "config/config.h"
#include "config/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The compact JSON of what bytes say, or NULL when they are refused. */
static char *load_and_print(const char *bytes, size_t size, bool *ret_valid)
{
	struct vm_config config;
	struct config_draft draft = {.config = &config};
	struct err err = {0};
	char *json = NULL;

	vm_config_init(&config);
	if (config_load_bytes(&draft, bytes, size, "fuzz", &err) == 0) {
		config_resolve(&draft);
		*ret_valid = config_validate(&config, &err) == 0;
		json = config_to_json(&config);
		vmm_assert(json);
	} else {
		vmm_assert(err.code < 0 && err.msg[0]);
	}
	vm_config_done(&config);
	return json;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool valid = false, valid_again = false;
	char *json = load_and_print((const char *)data, size, &valid), *again;

	if (!valid) {
		free(json);
		return 0;
	}
	again = load_and_print(json, strlen(json), &valid_again);
	vmm_assert(again && strcmp(json, again) == 0 && valid_again);
	free(json);
	free(again);
	return 0;
}
