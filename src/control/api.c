/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/text.h"
#include "control/api_internal.h"
#include "control/refusal.h"
#include "machine/version.h"

enum { API_VERSION = 1, MAX_METHODS = 4 };

static int api_index(struct api_call *call);

/* A row is one endpoint. '*' in a path stands for one part of it, which the endpoint gets. */
static const struct endpoint {
	enum http_method method;
	const char *path;
	int (*answer)(struct api_call *call);
	const char *help;
} endpoints[] = {
	{HTTP_METHOD_GET, "/v1", api_index, "this list"},
	{HTTP_METHOD_GET, "/v1/info", api_info, "name, state, process, times"},
	{HTTP_METHOD_GET, "/v1/config", api_config, "the effective configuration"},
	{HTTP_METHOD_GET, "/v1/stats", api_stats, "counters of vCPUs, devices, console, process"},
	{HTTP_METHOD_GET, "/v1/events", api_events,
	 "events, one JSON object in each line; ?since=SEQ, ?follow=0"},
	{HTTP_METHOD_GET, "/v1/devices", api_devices, "devices, their counters and verbs"},
	{HTTP_METHOD_POST, "/v1/devices/*/*", api_device_verb, "ask a device to do something"},
	{HTTP_METHOD_POST, "/v1/pause", api_pause, "stop every vCPU"},
	{HTTP_METHOD_POST, "/v1/resume", api_resume, "let them run again"},
	{HTTP_METHOD_POST, "/v1/power-button", api_power_button, "press the power button"},
	{HTTP_METHOD_POST, "/v1/reset", api_reset, "reset the machine in place"},
	{HTTP_METHOD_POST, "/v1/nmi", api_nmi, "a non-maskable interrupt on every processor"},
	{HTTP_METHOD_POST, "/v1/stop", api_stop,
	 "power button, and the end by force after \"timeout\""},
	{HTTP_METHOD_POST, "/v1/kill", api_kill, "end it now"},
	{HTTP_METHOD_GET, "/v1/console", api_console,
	 "console output as it comes; with Upgrade: vmm-stream both ways"},
	{HTTP_METHOD_GET, "/v1/console/tail", api_console_tail, "the console's last lines"},
	{HTTP_METHOD_POST, "/v1/console/attach", api_console_attach,
	 "send console output to a descriptor \"fd\", and take \"input\" from it"},
	{HTTP_METHOD_GET, "/v1/log", api_log_get, "level of vmm's log"},
	{HTTP_METHOD_PUT, "/v1/log", api_log_put, "change its \"level\", or its file \"fd\""},
	{HTTP_METHOD_GET, "/v1/fds", api_fds, "descriptors that wait for a request"},
};

static const char *const method_names[] = {
	[HTTP_METHOD_GET] = "GET",
	[HTTP_METHOD_PUT] = "PUT",
	[HTTP_METHOD_POST] = "POST",
	[HTTP_METHOD_DELETE] = "DELETE",
};

/* ---- JSON bodies ---- */

void api_set(json_t *object, const char *key, json_t *value)
{
	/* A NULL value (out of memory, bad UTF-8) leaves the key out. */
	if (value)
		(void)json_object_set_new(object, key, value);
}

static const char *type_name(json_type type)
{
	switch (type) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	case JSON_NULL:
		break;
	}
	return "null";
}

int api_get(struct api_call *call, const char *key, json_type type, json_t **ret)
{
	json_t *value = json_object_get(call->body, key);
	bool fits = value && (json_typeof(value) == type ||
			      (type == JSON_TRUE && json_typeof(value) == JSON_FALSE));

	*ret = fits ? value : NULL;
	if (fits || !value)
		return 0;
	(void)snprintf(call->where, sizeof(call->where), "/%s", key);
	return err_set(&call->err, -EINVAL, "\"%s\" must be %s and is %s", key, type_name(type),
		       type_name(json_typeof(value)));
}

int api_only_keys(struct api_call *call, const char *const *names, size_t n)
{
	const char *key;
	json_t *value;

	json_object_foreach(call->body, key, value)
	{
		const char *near = text_nearest(key, names, n);
		size_t i = 0;

		while (i < n && strcmp(names[i], key) != 0)
			i++;
		if (i < n)
			continue;
		(void)snprintf(call->where, sizeof(call->where), "/%s", key);
		return err_set(&call->err, -EINVAL, "unknown key \"%.40s\"%s%s%s", key,
			       near ? ", did you mean \"" : "", near ? near : "",
			       near ? "\"?" : "");
	}
	return 0;
}

static int parse_body(struct api_call *call)
{
	const struct http_request *request = call->request;
	json_error_t error;

	if (request->body_len == 0) {
		call->body = json_object();
		return call->body ? 0 : err_set(&call->err, -ENOMEM, "out of memory");
	}
	call->body = json_loadb(request->body, request->body_len, JSON_REJECT_DUPLICATES, &error);
	if (!call->body)
		return err_set(&call->err, -EINVAL, "the body is no JSON: line %d, column %d: %s",
			       error.line, error.column, error.text);
	if (!json_is_object(call->body))
		return err_set(&call->err, -EINVAL, "the body must be a JSON object and is %s",
			       type_name(json_typeof(call->body)));
	return 0;
}

/* ---- answers ---- */

static const struct status {
	int code; /* -errno */
	int status;
	const char *name;
} statuses[] = {
	{-EINVAL, 400, "bad_request"}, {-EPERM, 403, "forbidden"}, {-ENOENT, 404, "not_found"},
	{-EBUSY, 409, "conflict"},     {-E2BIG, 413, "too_large"}, {-EUSERS, 503, "busy"},
};

static void reply_json(struct server_conn *conn, int status, json_t *o)
{
	static const char failed[] = "{\"code\":\"internal\",\"message\":\"out of memory\","
				     "\"where\":null,\"hint\":null}\n";
	char *text = json_dumps(o, JSON_COMPACT);
	struct str line = {0};

	if (text)
		str_addf(&line, "%s\n", text);
	free(text);
	text = str_steal(&line);
	if (text && *text)
		server_reply(conn, status, "application/json", text, strlen(text), NULL);
	else
		server_reply(conn, 500, "application/json", failed, sizeof(failed) - 1, NULL);
	free(text);
}

static void reply_error(struct server_conn *conn, int status, const char *name,
			const struct api_call *call, const char *extra)
{
	char *body =
		refusal_json(name, call->err.msg, *call->where ? call->where : NULL, call->hint);

	server_reply(conn, status, "application/json", body ? body : "", body ? strlen(body) : 0,
		     extra);
	free(body);
}

static void answer(struct api_call *call, int r)
{
	if (call->answered)
		return;
	if (r == 0) {
		if (!call->out)
			call->out = json_object();
		reply_json(call->conn, 200, call->out);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i].code == r) {
			reply_error(call->conn, statuses[i].status, statuses[i].name, call, NULL);
			return;
		}
	reply_error(call->conn, 500, "internal", call, NULL);
}

/* ---- routes ---- */

/* Fills args with what stands for each '*'; they are there to be read when it is true. */
static bool path_matches(const char *pattern, const char *path, struct api_call *call)
{
	unsigned n = 0;

	while (*pattern) {
		size_t len;

		if (*pattern != '*') {
			if (*pattern++ != *path++)
				return false;
			continue;
		}
		len = strcspn(path, "/");
		if (len == 0 || len >= API_ARG_LEN || n == ARRAY_SIZE(call->args))
			return false;
		memcpy(call->args[n], path, len);
		call->args[n++][len] = '\0';
		path += len;
		pattern++;
	}
	return *path == '\0';
}

static const struct endpoint *find(struct api_call *call, struct str *ret_allow)
{
	const struct http_request *request = call->request;

	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
		if (!path_matches(endpoints[i].path, request->path, call))
			continue;
		if (endpoints[i].method == request->method)
			return &endpoints[i];
		str_addf(ret_allow, "%s%s",
			 ret_allow->len ? ", " : "Allow: ", method_names[endpoints[i].method]);
	}
	return NULL;
}

static void no_endpoint(struct api_call *call, struct str *allow)
{
	const char *paths[ARRAY_SIZE(endpoints)], *near;
	char hint[128];

	if (allow->len) {
		str_add(allow, "\r\n");
		(void)err_set(&call->err, -EINVAL, "%s does not know this method",
			      call->request->path);
		reply_error(call->conn, 405, "method_not_allowed", call, allow->buf);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++)
		paths[i] = endpoints[i].path;
	near = text_nearest(call->request->path, paths, ARRAY_SIZE(paths));
	(void)snprintf(hint, sizeof(hint),
		       near ? "did you mean %s?" : "GET /v1 lists what there is", near);
	call->hint = hint;
	(void)err_set(&call->err, -ENOENT, "there is no %s", call->request->path);
	answer(call, -ENOENT);
	call->hint = NULL;
}

static void on_request(struct server_handler *handler, struct server_conn *conn,
		       const struct http_request *request)
{
	struct api *api = container_of(handler, struct api, handler);
	struct api_call call = {.api = api, .conn = conn, .request = request};
	struct str allow = {0};
	const struct endpoint *endpoint = find(&call, &allow);
	int r;

	if (!endpoint) {
		no_endpoint(&call, &allow);
	} else {
		r = parse_body(&call);
		if (r == 0)
			r = endpoint->answer(&call);
		answer(&call, r);
	}
	json_decref(call.body);
	json_decref(call.out);
	str_done(&allow);
}

static int api_index(struct api_call *call)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++)
		(void)json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "method",
							    method_names[endpoints[i].method],
							    "path", endpoints[i].path, "help",
							    endpoints[i].help));
	call->out = json_pack("{s:i, s:s, s:o}", "api", API_VERSION, "vmm", VMM_VERSION,
			      "endpoints", list);
	return 0;
}

/* ---- life ---- */

int api_new(const struct api_parts *parts, struct api **ret)
{
	struct api *api = calloc(1, sizeof(*api));

	if (!api)
		return -ENOMEM;
	api->handler.request = on_request;
	api->parts = *parts;
	api->log_fd = -1;
	*ret = api;
	return 0;
}

struct api *api_free(struct api *api)
{
	if (!api)
		return NULL;
	api_streams_done(api);
	free(api);
	return NULL;
}

struct server_handler *api_handler(struct api *api)
{
	return &api->handler;
}

void api_set_server(struct api *api, const struct server *server)
{
	api->server = server;
}
