/* SPDX-License-Identifier: Apache-2.0 */
#include "config/validate_devices.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"
#include "base/text.h"

/* Devices whose ids are always the same; a device of this name would be taken for them. */
static const char *const fixed_ids[] = {
	"acpi_pm", "balloon0", "broker0", "console0", "debugcon0", "exit0",  "i8042",	  "mem0",
	"pci0",	   "pvpanic0", "rng0",	  "rtc0",     "serial0",   "vsock0", "watchdog0",
};

/* A device that may be given an id: the JSON array, its place there, and the effective id. */
struct named {
	const char *array;
	unsigned i;
	const char *id;
};

/* Device n of all that have an id, buf is for its id; array is NULL past the last one. */
static struct named named_device(const struct vm_config *config, unsigned n, char *buf)
{
	if (n < config->n_disks)
		return (struct named){"disks", n, config_disk_id(config, n, buf)};
	n -= config->n_disks;
	if (n < config->n_nets)
		return (struct named){"nets", n, config_net_id(config, n, buf)};
	n -= config->n_nets;
	if (n < config->n_vhost_users)
		return (struct named){"vhost_user", n, config_vhost_user_id(config, n, buf)};
	n -= config->n_vhost_users;
	if (n < config->n_pmem)
		return (struct named){"pmem", n, config_pmem_id(config, n, buf)};
	return (struct named){NULL, 0, NULL};
}

static int check_ids(const struct vm_config *config, struct err *err)
{
	char id_a[CONFIG_ID_LEN], id_b[CONFIG_ID_LEN];
	struct named a, b;

	for (unsigned i = 0; (a = named_device(config, i, id_a)).array; i++) {
		for (size_t k = 0; k < ARRAY_SIZE(fixed_ids); k++)
			if (strcmp(a.id, fixed_ids[k]) == 0)
				return err_set(err, -EINVAL,
					       "/%s/%u/id: '%s' is the name of one of vmm's own "
					       "devices: use another",
					       a.array, a.i, a.id);
		for (unsigned j = 0; j < i; j++) {
			b = named_device(config, j, id_b);
			if (strcmp(a.id, b.id) == 0)
				return err_set(err, -EINVAL,
					       "/%s/%u/id: '%s' is the name of /%s/%u, too: give "
					       "one of them another id",
					       a.array, a.i, a.id, b.array, b.i);
		}
	}
	return 0;
}

static int check_iothread(const struct vm_config *config, const char *array, int i, int iothread,
			  struct err *err)
{
	char place[32];

	if (iothread < 0 || (uint32_t)iothread < config->iothreads.count)
		return 0;
	(void)snprintf(place, sizeof(place), i < 0 ? "/%s" : "/%s/%d", array, i);
	return err_set(err, -EINVAL,
		       "%s/iothread: there is no I/O thread %d: there are %" PRIu32
		       ", counted from 0; use --iothreads %d for more",
		       place, iothread, config->iothreads.count, iothread + 1);
}

static int check_disk(const struct vm_config *config, unsigned i, struct err *err)
{
	const struct config_disk *disk = &config->disks[i];

	if (disk->ro && disk->overlay)
		return err_set(
			err, -EINVAL,
			"/disks/%u/overlay: overlay=on and ro=on exclude each other: with an "
			"overlay the image isn't written anyway, so leave ro out",
			i);
	if (disk->bw_burst && !disk->bw)
		return err_set(err, -EINVAL, "/disks/%u/bw_burst: needs a limit: give bw, too", i);
	if (disk->iops_burst && !disk->iops)
		return err_set(err, -EINVAL, "/disks/%u/iops_burst: needs a limit: give iops, too",
			       i);
	return check_iothread(config, "disks", (int)i, disk->iothread, err);
}

/* A file that a device of the guest may write to. */
struct image {
	const char *array;
	unsigned i;
	const char *path; /* NULL: it is never written */
};

static struct image image(const struct vm_config *config, unsigned n)
{
	if (n < config->n_disks) {
		const struct config_disk *disk = &config->disks[n];

		return (struct image){"disks", n, disk->ro || disk->overlay ? NULL : disk->path};
	}
	n -= config->n_disks;
	if (n < config->n_pmem)
		return (struct image){"pmem", n, config->pmem[n].ro ? NULL : config->pmem[n].path};
	return (struct image){NULL, 0, NULL};
}

/* The same path twice; links and locks are looked at when the files are opened. */
static int check_images(const struct vm_config *config, struct err *err)
{
	struct image a, b;

	for (unsigned i = 0; (a = image(config, i)).array; i++)
		for (unsigned j = 0; a.path && j < i; j++) {
			b = image(config, j);
			if (b.path && strcmp(a.path, b.path) == 0)
				return err_set(err, -EINVAL,
					       "/%s/%u/path: '%s' is written by /%s/%u, too: use "
					       "ro=on for both, or a file for each",
					       a.array, a.i, a.path, b.array, b.i);
		}
	return 0;
}

static int check_disks(const struct vm_config *config, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < config->n_disks; i++)
		r = check_disk(config, i, err);
	return r < 0 ? r : check_images(config, err);
}

/* Keys that mean something for one kind only. */
static int check_net_keys(const struct config_net *net, unsigned i, struct err *err)
{
	if (net->queues > 1 && !net->tap)
		return err_set(err, -EINVAL,
			       "/nets/%u/queues: only a tap that is given by its name can have "
			       "more than one pair of queues",
			       i);
	if (net->listen && !net->stream)
		return err_set(err, -EINVAL, "/nets/%u/listen: belongs to stream=unix:PATH", i);
	return 0;
}

static int used_twice(const char *key, unsigned i, unsigned j, struct err *err)
{
	return err_set(err, -EINVAL, "/nets/%u/%s: is that of /nets/%u, too", i, key, j);
}

static bool equal(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

/* What two cards can't have in common. */
static int check_net_pair(const struct vm_config *config, unsigned i, unsigned j, struct err *err)
{
	const struct config_net *a = &config->nets[i], *b = &config->nets[j];

	if (a->none || b->none)
		return err_set(err, -EINVAL,
			       "/nets/%u: none is no network at all, and can't stand beside other "
			       "cards: leave it or them out",
			       a->none ? i : j);
	if (a->user && b->user)
		return err_set(err, -EINVAL,
			       "/nets/%u/user: there can be one user network only, and /nets/%u is "
			       "one",
			       i, j);
	if (equal(a->tap, b->tap))
		return used_twice("tap", i, j, err);
	if (a->fd && a->fd == b->fd)
		return used_twice("fd", i, j, err);
	if (equal(a->stream, b->stream))
		return used_twice("stream", i, j, err);
	if (a->mac && b->mac && strcasecmp(a->mac, b->mac) == 0)
		return used_twice("mac", i, j, err);
	return 0;
}

static int check_nets(const struct vm_config *config, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < config->n_nets; i++) {
		const struct config_net *net = &config->nets[i];

		r = check_net_keys(net, i, err);
		if (r == 0)
			r = check_iothread(config, "nets", (int)i, net->iothread, err);
		for (unsigned j = 0; r == 0 && j < i; j++)
			r = check_net_pair(config, i, j, err);
	}
	return r;
}

/* Two that want the same port of the host; a port on all addresses is on each of them. */
static bool same_port(const struct config_publish *a, const struct config_publish *b)
{
	struct config_forward x, y;

	if (config_parse_publish(a->text, &x, NULL) < 0 ||
	    config_parse_publish(b->text, &y, NULL) < 0)
		return false;
	return x.host == y.host && x.udp == y.udp &&
	       (!*x.address || !*y.address || strcmp(x.address, y.address) == 0);
}

static int check_publish(const struct vm_config *config, struct err *err)
{
	bool user = false;

	for (unsigned i = 0; i < config->n_nets; i++)
		user = user || config->nets[i].user;
	if (config->n_publish && !user)
		return err_set(err, -EINVAL,
			       "/publish: ports are published by the user network only: give "
			       "--net user, too");
	for (unsigned i = 0; i < config->n_publish; i++)
		for (unsigned j = 0; j < i; j++)
			if (same_port(&config->publish[i], &config->publish[j]))
				return err_set(err, -EINVAL,
					       "/publish/%u: '%s' wants the same port of the host "
					       "as '%s'",
					       i, config->publish[i].text, config->publish[j].text);
	return 0;
}

static int check_ports(const struct vm_config *config, struct err *err)
{
	for (unsigned i = 0; i < config->n_ports; i++)
		for (unsigned j = 0; j < i; j++)
			if (strcmp(config->ports[i].name, config->ports[j].name) == 0)
				return err_set(err, -EINVAL,
					       "/ports/%u/name: '%s' is the name of /ports/%u, "
					       "too: give one of them another name",
					       i, config->ports[i].name, j);
	return 0;
}

static int check_vhost_users(const struct vm_config *config, struct err *err)
{
	int r = 0;

	if (config->n_vhost_users && config->memory.shared == CONFIG_SHARED_OFF)
		return err_set(err, -EINVAL,
			       "/memory/shared: back ends of --vhost-user work in the guest's "
			       "memory, which shared=off forbids: leave it out");
	for (unsigned i = 0; r == 0 && i < config->n_vhost_users; i++) {
		const struct config_vhost_user *v = &config->vhost_users[i];

		if (v->server && !v->type)
			return err_set(err, -EINVAL,
				       "/vhost_user/%u/server: the type must be known before a "
				       "back end connects: give type=, too",
				       i);
		if ((v->mac || v->mtu) && v->type && config_virtio_type(v->type) != VIRTIO_ID_NET)
			return err_set(err, -EINVAL,
				       "/vhost_user/%u/%s: belongs to a network card, and the type "
				       "is %s",
				       i, v->mac ? "mac" : "mtu", v->type);
		r = check_iothread(config, "vhost_user", (int)i, v->iothread, err);
		for (unsigned j = 0; r == 0 && j < i; j++)
			if (equal(v->path, config->vhost_users[j].path))
				r = err_set(err, -EINVAL,
					    "/vhost_user/%u/path: '%s' is that of /vhost_user/%u, "
					    "too: each device needs a socket of its own",
					    i, v->path, j);
	}
	return r;
}

static int check_vsock(const struct vm_config *config, struct err *err)
{
	return config->vsock ? check_iothread(config, "vsock", -1, config->vsock->iothread, err)
			     : 0;
}

static int check_balloon(const struct vm_config *config, struct err *err)
{
	char size[32], memory[32];

	if (!config->balloon || config->balloon->size < config->memory.size)
		return 0;
	return err_set(err, -EINVAL,
		       "/balloon/size: %s is all of the guest's memory of %s, or more: it would "
		       "have none left",
		       text_format_size(config->balloon->size, size, sizeof(size)),
		       text_format_size(config->memory.size, memory, sizeof(memory)));
}

int validate_devices(const struct vm_config *config, struct err *err)
{
	static int (*const checks[])(const struct vm_config *, struct err *) = {
		check_disks,	   check_nets,	check_publish, check_ports,
		check_vhost_users, check_vsock, check_balloon, check_ids,
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(checks); i++)
		r = checks[i](config, err);
	return r;
}
