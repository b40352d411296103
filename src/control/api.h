/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The endpoints of the control socket: one table row each, in api.c. docs/reference/api.md is the
 * table for people. Main thread.
 */
#ifndef VMM_CONTROL_API_H
#define VMM_CONTROL_API_H

#include "base/compiler.h"
#include "control/events.h"
#include "control/fdstore.h"
#include "control/server.h"
#include "machine/vm.h"

struct api;

/* What the endpoints work on; all borrowed. fds may be NULL. */
struct api_parts {
	struct vm *vm;
	const struct vm_config *config;
	struct events *events;
	struct fdstore *fds;
	bool detached;
	uint64_t start_ns, start_unix_ms;
};

int api_new(const struct api_parts *parts, struct api **ret) must_check;
/* Detaches the clients of the console. After server_free(). */
struct api *api_free(struct api *api);
struct server_handler *api_handler(struct api *api);
/* For the numbers in /v1/stats. */
void api_set_server(struct api *api, const struct server *server);

#endif
