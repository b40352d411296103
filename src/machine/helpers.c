/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/helpers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "machine/vm_internal.h"
#include "sandbox/broker.h"
#include "sandbox/broker_process.h"

struct vm_helpers {
	struct device dev; /* first, for DEVICE_STAT */
	struct broker_listener listener;
	struct broker *broker;
	struct vm *vm;	       /* NULL until it is there */
	struct loop_fd source; /* the broker speaks */
	struct vm_helper_user *users[BROKER_MAX_HELPERS];
	_Atomic uint64_t deaths, restarts, failed_restarts;
};

/* ---- what happens to them ---- */

static void emit(struct vm_helpers *h, const char *name, const struct vm_helper_user *user,
		 const char *how)
{
	struct vm_event event = {.name = name,
				 .fields = {{.key = "helper", .text = user->name},
					    {.key = "device", .text = user->device}}};

	if (how) {
		event.fields[2].key = "how";
		event.fields[2].text = how;
	}
	if (h->vm)
		vm_emit(h->vm, &event);
}

static struct vm_helpers *helpers_of(struct broker_listener *listener)
{
	return container_of(listener, struct vm_helpers, listener);
}

static void on_died(struct broker_listener *listener, unsigned helper, const char *how)
{
	struct vm_helpers *h = helpers_of(listener);
	struct vm_helper_user *user = h->users[helper];

	device_count(&h->deaths, 1);
	user->failures = 0;
	log_warn("%s: %s has died: %s; it is started again", user->device, user->name, how);
	emit(h, "helper_died", user, how);
}

static void on_restarted(struct broker_listener *listener, unsigned helper, int fd)
{
	struct vm_helpers *h = helpers_of(listener);
	struct vm_helper_user *user = h->users[helper];

	device_count(&h->restarts, 1);
	log_info("%s: %s runs again", user->device, user->name);
	user->ops->connected(user, fd);
	emit(h, "helper_restarted", user, NULL);
}

/* The broker goes on trying; the first time is enough for the log. */
static void on_not_restarted(struct broker_listener *listener, unsigned helper, const char *why)
{
	struct vm_helpers *h = helpers_of(listener);
	struct vm_helper_user *user = h->users[helper];

	device_count(&h->failed_restarts, 1);
	log_line(user->failures++ == 0 ? LOG_WARN : LOG_DEBUG,
		 "%s: %s can't be started again, and is tried from time to time: %s", user->device,
		 user->name, why);
}

static const struct broker_listener_ops listener_ops = {
	.died = on_died, .restarted = on_restarted, .not_restarted = on_not_restarted};

static void on_broker(struct loop_fd *source, uint32_t events)
{
	struct vm_helpers *h = container_of(source, struct vm_helpers, source);

	(void)events;
	if (broker_read(h->broker) < 0)
		loop_del_fd(h->vm->loop, source);
}

/* ---- the device ---- */

static void on_reset(struct device *dev)
{
	(void)dev;
}

/* Of the VM only: the helpers end later, when nobody is connected to them any more. */
static void on_free(struct device *dev)
{
	struct vm_helpers *h = container_of(dev, struct vm_helpers, dev);

	loop_del_fd(h->vm->loop, &h->source);
	h->vm = NULL;
}

static const struct device_stat stats[] = {
	DEVICE_STAT(struct vm_helpers, deaths, "times that a helper died"),
	DEVICE_STAT(struct vm_helpers, restarts, "times that one was started again"),
	DEVICE_STAT(struct vm_helpers, failed_restarts, "times that one could not be"),
};
static const struct device_ops device_ops = {
	.reset = on_reset,
	.free = on_free,
	.help = "starts the programs that work for this VM",
	.stats = stats,
	.n_stats = ARRAY_SIZE(stats),
};

int vm_add_helpers(struct vm *vm, struct err *err)
{
	struct vm_helpers *h = vm->res->backends.helpers;
	int r;

	if (!h)
		return 0;
	h->vm = vm;
	h->source = (struct loop_fd){.fd = broker_fd(h->broker), .ready = on_broker};
	r = loop_add_fd(vm->loop, &h->source, EPOLLIN);
	if (r < 0)
		return err_set(err, r, "the broker can't be watched: %s", strerror(-r));
	vm->devices[vm->n_devices++] = &h->dev;
	return 0;
}

/* ---- life ---- */

int vm_helpers_new(const struct vm_config *config, struct vm_helpers **ret, struct err *err)
{
	struct vm_helpers *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return err_set(err, -ENOMEM, "out of memory");
	h->dev = (struct device){.ops = &device_ops, .id = "broker0"};
	h->listener.ops = &listener_ops;
	r = broker_new(vm_sandbox_mode(config), helper_table, HELPER_KINDS, &h->listener,
		       &h->broker, err);
	if (r < 0) {
		free(h);
		return r;
	}
	*ret = h;
	return 0;
}

int vm_helpers_start(struct vm_helpers *h, enum helper_kind kind,
		     const union helper_settings *settings, struct vm_helper_user *user,
		     int *ret_fd, struct err *err)
{
	unsigned helper;
	int r = broker_start(h->broker, kind, settings, &helper, ret_fd, err);

	if (r < 0)
		return r;
	user->name = helper_table[kind].name;
	h->users[helper] = user;
	return 0;
}

struct vm_helpers *vm_helpers_free(struct vm_helpers *h)
{
	if (h)
		(void)broker_free(h->broker);
	free(h);
	return NULL;
}
