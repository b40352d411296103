/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/vhost_backends.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "devices/vhost_device.h"
#include "machine/vm_internal.h"
#include "vhost/vhost_user.h"

static int find_type(struct vhost_backend *b, const char *path, struct err *err)
{
	if (b->type)
		return 0;
	b->type = vhost_device_recognize(b->dev);
	if (!b->type)
		return err_set(
			err, -EINVAL,
			"%s: what the back end on '%s' is can't be told by what it offers: "
			"give type=blk, console, gpio, i2c, net, rng, scsi, sound, vsock, or the "
			"number of a virtio device",
			b->what, path);
	log_warn("%s: the back end is a %s", b->what,
		 b->type == VIRTIO_ID_NET ? "network card (type=net)" : "disk (type=blk)");
	return 0;
}

static void say_how_it_recovers(const struct vhost_backend *b, const struct config_vhost_user *c)
{
	/* What a network loses or sends twice, those who use it make good. */
	if (b->dev->recovery == VHOST_RECOVERY_INDEX && c->reconnect_ns > 0 &&
	    b->type != VIRTIO_ID_NET)
		log_warn("%s: this back end keeps no record of what is under way: if it is lost "
			 "under load, %s",
			 b->what,
			 c->on_lost == CONFIG_ON_LOST_REPLAY
				 ? "requests may be done twice (on_lost=replay)"
				 : "the device needs a reset (on_lost=fail)");
}

/* The signals that end a run are blocked by now and wait for main's loop, which does not run yet.
 */
static int watch_signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGQUIT);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int vhost_backend_open(const struct config_vhost_user *c, struct vhost_backend *ret,
		       struct err *err)
{
	_cleanup_close_ int signals = watch_signals();
	struct vhost_user_setup setup;
	int r;

	*ret = (struct vhost_backend){.type = c->type ? config_virtio_type(c->type) : 0};
	if (asprintf(&ret->what, "--vhost-user %s", c->path) < 0) {
		ret->what = NULL;
		return err_set(err, -ENOMEM, "out of memory");
	}
	setup = (struct vhost_user_setup){
		.what = ret->what,
		.path = c->path,
		.server = c->server,
		.wait_ns = c->wait_ns,
		.reconnect_ns = c->reconnect_ns,
		.config_sizes = vhost_device_config_sizes(ret->type),
		.cancel_fd = MAX(signals, 0),
	};
	r = vhost_user_open(&setup, &ret->dev, err);
	if (r == 0)
		r = find_type(ret, c->path, err);
	if (r == 0)
		say_how_it_recovers(ret, c);
	return r;
}

/* ---- events ---- */

static void on_changed(struct vhost_watch *watch, bool connected)
{
	struct vhost_backend *b = container_of(watch, struct vhost_backend, watch);

	(void)atomic_fetch_add(connected ? &b->back : &b->lost, 1);
	loop_post(b->vm->loop, &b->news);
}

static void emit(struct vhost_backend *b, const char *name)
{
	vm_emit(b->vm,
		&(struct vm_event){.name = name, .fields = {{.key = "device", .text = b->id}}});
}

/* In turns, since it can't be lost twice in between. The first one to come was there at the start.
 */
static void tell_news(struct loop_work *work)
{
	struct vhost_backend *b = container_of(work, struct vhost_backend, news);
	/* In this order: never more back than lost. */
	unsigned back = atomic_load(&b->back) - 1, lost = atomic_load(&b->lost);

	while (b->said_lost < lost || b->said_back < back)
		if (b->said_lost == b->said_back) {
			b->said_lost++;
			emit(b, "backend_lost");
		} else {
			b->said_back++;
			emit(b, "backend_back");
		}
}

struct vhost_watch *vhost_backend_watch(struct vhost_backend *b, struct vm *vm, const char *id)
{
	b->vm = vm;
	b->id = id;
	b->watch.changed = on_changed;
	b->news.run = tell_news;
	return &b->watch;
}

void vhost_backend_close(struct vhost_backend *b)
{
	if (b->vm)
		loop_work_cancel(b->vm->loop, &b->news);
	b->dev = vhost_dev_free(b->dev);
	free(b->what);
	b->what = NULL;
}
