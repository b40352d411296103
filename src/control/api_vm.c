/* SPDX-License-Identifier: Apache-2.0 */
/* The VM as a whole: what it is, what it is told to do, and vmm's log. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/chr.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"
#include "control/api_internal.h"
#include "machine/version.h"

static json_int_t ms_since(uint64_t ns)
{
	return (json_int_t)((clock_now_ns() - ns) / NS_PER_MS);
}

int api_info(struct api_call *call)
{
	const struct api_parts *p = &call->api->parts;
	uint64_t first_run = vm_first_run_ns(p->vm);
	struct chr *console = vm_console(p->vm);
	json_t *o = call->out = json_object();

	api_set(o, "name", json_string(p->config->name));
	api_set(o, "pid", json_integer(getpid()));
	api_set(o, "state", json_string(vm_state(p->vm)));
	api_set(o, "vmm", json_string(VMM_VERSION));
	api_set(o, "started_unix_ms", json_integer((json_int_t)p->start_unix_ms));
	api_set(o, "uptime_ms", json_integer(ms_since(p->start_ns)));
	api_set(o, "guest_uptime_ms", first_run ? json_integer(ms_since(first_run)) : json_null());
	api_set(o, "cpus", json_integer(vm_n_vcpus(p->vm)));
	api_set(o, "memory", json_integer((json_int_t)vm_memory_size(p->vm)));
	api_set(o, "resets", json_integer(vm_resets(p->vm)));
	api_set(o, "console", console ? json_string(chr_describe(console)) : json_null());
	api_set(o, "detached", json_boolean(p->detached));
	return 0;
}

int api_config(struct api_call *call)
{
	char *text = config_to_json(call->api->parts.config);

	call->out = text ? json_loads(text, 0, NULL) : NULL;
	free(text);
	return call->out ? 0 : err_set(&call->err, -ENOMEM, "out of memory");
}

static int tell_state(struct api_call *call)
{
	call->out = json_pack("{s:s}", "state", vm_state(call->api->parts.vm));
	return 0;
}

static int steer(struct api_call *call, int (*verb)(struct vm *vm, struct err *err))
{
	int r = api_only_keys(call, NULL, 0);

	if (r == 0)
		r = verb(call->api->parts.vm, &call->err);
	return r < 0 ? r : tell_state(call);
}

int api_pause(struct api_call *call)
{
	return steer(call, vm_pause);
}

int api_resume(struct api_call *call)
{
	return steer(call, vm_resume);
}

int api_power_button(struct api_call *call)
{
	return steer(call, vm_press_power_button);
}

int api_reset(struct api_call *call)
{
	return steer(call, vm_reset);
}

int api_nmi(struct api_call *call)
{
	return steer(call, vm_nmi);
}

static int kill_by_api(struct vm *vm, struct err *err)
{
	return vm_kill(vm, "api", err);
}

int api_kill(struct api_call *call)
{
	return steer(call, kill_by_api);
}

/* "10s", or a number of seconds. */
static int get_grace(struct api_call *call, uint64_t *ret)
{
	static const char *const keys[] = {"timeout"};
	const json_t *value = json_object_get(call->body, "timeout");
	int r = api_only_keys(call, keys, ARRAY_SIZE(keys));

	if (r < 0 || !value)
		return r;
	if (json_is_integer(value) && json_integer_value(value) >= 0 &&
	    !ckd_mul(ret, (uint64_t)json_integer_value(value), NS_PER_S))
		return 0;
	if (json_is_string(value) && text_parse_duration(json_string_value(value), ret) == 0)
		return 0;
	(void)strcpy(call->where, "/timeout");
	return err_set(&call->err, -EINVAL, "\"timeout\" is no time: say 90, 30s, 500ms or 2m");
}

int api_stop(struct api_call *call)
{
	struct api_parts *p = &call->api->parts;
	uint64_t grace = p->config->stop_timeout_ns;
	int r = get_grace(call, &grace);

	if (r == 0)
		r = vm_stop(p->vm, grace, "api", &call->err);
	return r < 0 ? r : tell_state(call);
}

/* ---- the log ---- */

static const char *const levels[] = {
	[LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

static int current_level(void)
{
	int level = LOG_DEBUG;

	while (level > LOG_ERROR && !log_enabled((enum log_level)level))
		level--;
	return level;
}

int api_log_get(struct api_call *call)
{
	call->out = json_pack("{s:s}", "level", levels[current_level()]);
	return 0;
}

static int find_level(struct api_call *call, const char *name, int *ret)
{
	for (int i = 0; i < (int)ARRAY_SIZE(levels); i++)
		if (strcmp(levels[i], name) == 0) {
			*ret = i;
			return 0;
		}
	(void)strcpy(call->where, "/level");
	return err_set(&call->err, -EINVAL,
		       "there is no log level \"%.20s\": error, warn, info, debug", name);
}

/* A log line is written by whichever thread has it, so the file must never make it wait. */
static int check_log_file(struct api_call *call, const char *text, int fd)
{
	struct stat st;
	int flags;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(&call->err, -EINVAL,
			       "%s is no regular file, and the log must not wait for a reader",
			       text);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return err_set(&call->err, -EINVAL,
			       "%s is not open for writing: open the file with O_WRONLY | O_APPEND",
			       text);
	return 0;
}

/* Changes nothing on failure. */
static int change_log_file(struct api_call *call, const char *text)
{
	int fd, r;

	(void)strcpy(call->where, "/fd");
	fd = fdstore_take(call->api->parts.fds, text, &call->err);
	if (fd < 0)
		return fd;
	r = check_log_file(call, text, fd);
	if (r == 0) {
		r = log_take_over(fd, &call->api->log_fd);
		if (r == 0)
			return 0;
		(void)err_set(&call->err, r, "%s: %s", text, strerror(-r));
	}
	(void)fd_close(fd);
	return r;
}

int api_log_put(struct api_call *call)
{
	static const char *const keys[] = {"level", "fd"};
	json_t *level_name, *fd_name;
	int level = current_level();
	int r = api_only_keys(call, keys, ARRAY_SIZE(keys));

	if (r == 0)
		r = api_get(call, "level", JSON_STRING, &level_name);
	if (r == 0)
		r = api_get(call, "fd", JSON_STRING, &fd_name);
	if (r == 0 && level_name)
		r = find_level(call, json_string_value(level_name), &level);
	if (r == 0 && fd_name)
		r = change_log_file(call, json_string_value(fd_name));
	if (r < 0)
		return r;
	log_set_level((enum log_level)level);
	return api_log_get(call);
}

int api_fds(struct api_call *call)
{
	json_t *list = json_array();
	const char *name;

	for (unsigned i = 0; (name = fdstore_name(call->api->parts.fds, i)); i++)
		(void)json_array_append_new(list, json_string(name));
	call->out = json_pack("{s:o}", "fds", list);
	return 0;
}
