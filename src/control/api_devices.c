/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of everything, and what a device's tables say about it. No device is known by name. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "backend/chr.h"
#include "base/checked.h"
#include "bus/device.h"
#include "control/api_internal.h"

enum { MAX_PARAMS = 8 };

/* ---- counters ---- */

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)MIN(n, (uint64_t)INT64_MAX));
}

static json_t *vcpu_json(struct vm *vm, unsigned vcpu)
{
	json_t *exits = json_object();
	const char *name;
	uint64_t count;

	for (unsigned i = 0; (name = vm_vcpu_exit_count(vm, vcpu, i, &count)); i++)
		if (count)
			api_set(exits, name, number(count));
	return json_pack("{s:i, s:o}", "id", (int)vcpu, "exits", exits);
}

static json_t *device_counters(const struct device *dev)
{
	const struct device_stat *stat;
	json_t *o = json_object();

	for (unsigned i = 0; (stat = device_stat_at(dev, i)); i++)
		api_set(o, stat->name, number(device_stat_value(dev, stat)));
	return o;
}

static json_t *console_json(struct api *api)
{
	struct chr *console = vm_console(api->parts.vm);
	struct chr_stats stats = console ? chr_stats(console) : (struct chr_stats){0};
	json_t *o = json_object(), *clients = json_array();

	api_set(o, "written", number(stats.written));
	api_set(o, "dropped", number(stats.dropped));
	api_set(o, "received", number(stats.received));
	api_add_console_clients(api, clients);
	api_set(o, "clients", clients);
	return o;
}

static json_t *seconds_as_ms(struct timeval tv)
{
	return json_integer((json_int_t)tv.tv_sec * 1000 + tv.tv_usec / 1000);
}

static json_t *process_json(void)
{
	struct rusage usage;
	json_t *o = json_object();

	if (getrusage(RUSAGE_SELF, &usage) < 0)
		return o;
	api_set(o, "cpu_ms",
		json_pack("{s:o, s:o}", "user", seconds_as_ms(usage.ru_utime), "system",
			  seconds_as_ms(usage.ru_stime)));
	api_set(o, "rss_peak_kib", json_integer(usage.ru_maxrss));
	return o;
}

int api_stats(struct api_call *call)
{
	struct api *api = call->api;
	struct vm *vm = api->parts.vm;
	json_t *vcpus = json_array(), *devices = json_object();
	struct device *dev;

	for (unsigned i = 0; i < vm_n_vcpus(vm); i++)
		(void)json_array_append_new(vcpus, vcpu_json(vm, i));
	for (unsigned i = 0; (dev = vm_device(vm, i)); i++)
		if (device_stat_at(dev, 0))
			api_set(devices, dev->id, device_counters(dev));
	call->out = json_object();
	api_set(call->out, "vcpus", vcpus);
	api_set(call->out, "devices", devices);
	api_set(call->out, "console", console_json(api));
	api_set(call->out, "process", process_json());
	api_set(call->out, "control",
		json_pack("{s:i, s:I}", "connections", (int)server_connections(api->server),
			  "events", (json_int_t)events_last(api->parts.events)));
	return 0;
}

/* ---- descriptions ---- */

static json_t *param_json(const struct device_param *param)
{
	return json_pack("{s:s, s:s, s:b, s:o, s:o, s:s}", "name", param->name, "type",
			 param->type == DEVICE_PARAM_TEXT ? "text" : "number", "required",
			 !param->optional, "min", number(param->min), "max", number(param->max),
			 "help", param->help);
}

static json_t *verb_json(const struct device_verb *verb)
{
	json_t *params = json_array();

	for (unsigned i = 0; i < verb->n_params; i++)
		(void)json_array_append_new(params, param_json(&verb->params[i]));
	return json_pack("{s:s, s:s, s:o}", "name", verb->name, "help", verb->help, "params",
			 params);
}

static json_t *device_json(const struct device *dev)
{
	const struct device_ops *ops = dev->ops;
	json_t *stats = json_array(), *verbs = json_array();
	const struct device_stat *stat;

	for (unsigned i = 0; (stat = device_stat_at(dev, i)); i++)
		(void)json_array_append_new(
			stats, json_pack("{s:s, s:s}", "name", stat->name, "help", stat->help));
	for (unsigned i = 0; i < ops->n_verbs; i++)
		(void)json_array_append_new(verbs, verb_json(&ops->verbs[i]));
	return json_pack("{s:s, s:s, s:o, s:o}", "id", dev->id, "help", ops->help ? ops->help : "",
			 "stats", stats, "verbs", verbs);
}

int api_devices(struct api_call *call)
{
	json_t *list = json_array();
	struct device *dev;

	for (unsigned i = 0; (dev = vm_device(call->api->parts.vm, i)); i++)
		(void)json_array_append_new(list, device_json(dev));
	call->out = list;
	return 0;
}

/* ---- verbs ---- */

static int no_device(struct api_call *call)
{
	const char *ids[64], *near;
	struct device *dev;
	unsigned n = 0;

	while (n < ARRAY_SIZE(ids) && (dev = vm_device(call->api->parts.vm, n)))
		ids[n++] = dev->id;
	near = text_nearest(call->args[0], ids, n);
	call->hint = "GET /v1/devices lists them";
	return err_set(&call->err, -ENOENT, "there is no device \"%s\"%s%s%s", call->args[0],
		       near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static int find_verb(struct api_call *call, const struct device *dev,
		     const struct device_verb **ret)
{
	struct str list = {0};

	for (unsigned i = 0; i < dev->ops->n_verbs; i++) {
		*ret = &dev->ops->verbs[i];
		if (strcmp((*ret)->name, call->args[1]) == 0) {
			str_done(&list);
			return 0;
		}
		str_addf(&list, "%s%s", i ? ", " : "", (*ret)->name);
	}
	(void)err_set(&call->err, -ENOENT, "%s knows no \"%s\"; it knows %s", dev->id,
		      call->args[1], list.len ? list.buf : "no verb at all");
	str_done(&list);
	return -ENOENT;
}

static int out_of_range(struct api_call *call, const struct device_param *param)
{
	(void)snprintf(call->where, sizeof(call->where), "/%s", param->name);
	return err_set(&call->err, -EINVAL, "\"%s\" must %s %llu to %llu%s", param->name,
		       param->type == DEVICE_PARAM_TEXT ? "have" : "be",
		       (unsigned long long)param->min, (unsigned long long)param->max,
		       param->type == DEVICE_PARAM_TEXT ? " bytes" : "");
}

/* The text belongs to the body and lives as long as the call. */
static int get_param(struct api_call *call, const struct device_param *param,
		     struct device_value *ret)
{
	bool text = param->type == DEVICE_PARAM_TEXT;
	json_t *value;
	int r = api_get(call, param->name, text ? JSON_STRING : JSON_INTEGER, &value);
	uint64_t size;

	if (r < 0)
		return r;
	if (!value && param->optional)
		return 0;
	if (!value)
		return err_set(&call->err, -EINVAL, "\"%s\" is missing: %s", param->name,
			       param->help);
	ret->given = true;
	if (text) {
		ret->text = json_string_value(value);
		size = ret->len = json_string_length(value);
	} else {
		if (json_integer_value(value) < 0)
			return out_of_range(call, param);
		size = ret->number = (uint64_t)json_integer_value(value);
	}
	return size < param->min || size > param->max ? out_of_range(call, param) : 0;
}

static int run_verb(struct api_call *call, struct device *dev, const struct device_verb *verb)
{
	struct device_value values[MAX_PARAMS] = {0};
	const char *names[MAX_PARAMS];
	int r;

	for (unsigned i = 0; i < verb->n_params; i++)
		names[i] = verb->params[i].name;
	r = api_only_keys(call, names, verb->n_params);
	for (unsigned i = 0; i < verb->n_params && r == 0; i++)
		r = get_param(call, &verb->params[i], &values[i]);
	return r < 0 ? r : verb->run(dev, values, &call->err);
}

int api_device_verb(struct api_call *call)
{
	struct device *dev = vm_find_device(call->api->parts.vm, call->args[0]);
	const struct device_verb *verb;
	int r;

	if (!dev)
		return no_device(call);
	r = find_verb(call, dev, &verb);
	return r < 0 ? r : run_verb(call, dev, verb);
}
