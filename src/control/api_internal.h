/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the API share: inside this room only. */
#ifndef VMM_CONTROL_API_INTERNAL_H
#define VMM_CONTROL_API_INTERNAL_H

#include <jansson.h>

#include "base/err.h"
#include "control/api.h"

enum {
	API_WHERE_LEN = 64,
	API_ARG_LEN = 64,
	/* Of the connections; the others stay free for who wants to steer. */
	API_MAX_EVENT_STREAMS = SERVER_MAX_CONNS - 8,
};

struct api_stream;

struct api {
	struct server_handler handler;
	struct api_parts parts;
	const struct server *server;
	struct api_stream *streams; /* clients of the console that have been given their socket */
	unsigned event_streams;
	int log_fd; /* given by PUT /v1/log, ours; -1: none */
};

/* One request on its way through an endpoint. */
struct api_call {
	struct api *api;
	struct server_conn *conn;
	const struct http_request *request;
	/* The parts of the path that the row leaves open with '*'. */
	char args[2][API_ARG_LEN];
	json_t *body; /* an object, empty when no body was sent */
	json_t *out;  /* the answer, owned by the call; NULL: {} */
	struct err err;
	char where[API_WHERE_LEN]; /* JSON pointer into the body, or "" */
	const char *hint;
	bool answered; /* the endpoint has answered by itself */
};

/* Sets value under key, and owns it either way. */
void api_set(json_t *object, const char *key, json_t *value);
/* The key's value if it is there and of the type; wrong type: -EINVAL with where set. 0: *ret is
 * the value or NULL. */
int api_get(struct api_call *call, const char *key, json_type type, json_t **ret) must_check;
/* Refuses keys of the body that are not in names[n]. */
int api_only_keys(struct api_call *call, const char *const *names, size_t n) must_check;

/* Endpoints: 0, or -errno with a message in call->err. api_vm.c: */
int api_info(struct api_call *call) must_check;
int api_config(struct api_call *call) must_check;
int api_pause(struct api_call *call) must_check;
int api_resume(struct api_call *call) must_check;
int api_power_button(struct api_call *call) must_check;
int api_reset(struct api_call *call) must_check;
int api_nmi(struct api_call *call) must_check;
int api_stop(struct api_call *call) must_check;
int api_kill(struct api_call *call) must_check;
int api_log_get(struct api_call *call) must_check;
int api_log_put(struct api_call *call) must_check;
int api_fds(struct api_call *call) must_check;
/* api_devices.c: */
int api_stats(struct api_call *call) must_check;
int api_devices(struct api_call *call) must_check;
int api_device_verb(struct api_call *call) must_check;
/* api_streams.c: */
int api_events(struct api_call *call) must_check;
int api_console(struct api_call *call) must_check;
int api_console_tail(struct api_call *call) must_check;
int api_console_attach(struct api_call *call) must_check;
void api_streams_done(struct api *api);
void api_add_console_clients(struct api *api, json_t *list);

#endif
