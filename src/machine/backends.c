/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/backends.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/checked.h"

static int open_disk(const struct config_disk *disk, struct blk **ret, struct err *err)
{
	static const enum blk_cache caches[] = {
		[CONFIG_CACHE_NONE] = BLK_CACHE_NONE,
		[CONFIG_CACHE_WRITEBACK] = BLK_CACHE_WRITEBACK,
		[CONFIG_CACHE_UNSAFE] = BLK_CACHE_UNSAFE,
	};
	const struct blk_opts opts = {
		.what = "--disk",
		.path = disk->path,
		.cache = caches[disk->cache],
		.ro = disk->ro,
		.lock = disk->lock,
		.overlay = disk->overlay,
	};
	const struct blk_limits limits = {
		.bw = disk->bw,
		.bw_burst = disk->bw_burst,
		.iops = disk->iops,
		.iops_burst = disk->iops_burst,
	};
	int r = blk_open(&opts, ret, err);

	if (r == 0)
		blk_set_limits(*ret, &limits);
	return r;
}

static int open_disks(const struct vm_config *config, struct vm_backends *ret, struct err *err)
{
	int r = 0;

	ret->disks = calloc(MAX(config->n_disks, 1u), sizeof(struct blk *));
	if (!ret->disks)
		return err_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < config->n_disks && r == 0; i++) {
		r = open_disk(&config->disks[i], &ret->disks[i], err);
		if (r == 0)
			ret->n_disks++;
	}
	return r;
}

/* There is one such network at most. */
static int open_user_net(const struct vm_config *config, unsigned i, struct vm_backends *ret,
			 struct err *err)
{
	int r = vm_helpers_new(config, &ret->helpers, err);

	return r < 0 ? r
		     : user_net_open(config, i, ret->helpers, &ret->user_net, &ret->nets[i], err);
}

static int open_net(const struct vm_config *config, unsigned i, struct vm_backends *backends,
		    struct err *err)
{
	const struct config_net *net = &config->nets[i];
	const char *path = config_stream_path(net);
	struct net **ret = &backends->nets[i];

	switch (config_net_kind(net)) {
	case CONFIG_NET_TAP:
		return net_tap_open("--net", net->tap, MAX(net->queues, 1u), ret, err);
	case CONFIG_NET_FD:
		return net_tap_adopt("--net", (int)net->fd, ret, err);
	case CONFIG_NET_STREAM:
		return net->listen ? net_stream_listen("--net", path, ret, err)
				   : net_stream_connect("--net", path, ret, err);
	case CONFIG_NET_USER:
		return open_user_net(config, i, backends, err);
	case CONFIG_NET_NONE:
		*ret = NULL;
		return 0;
	}
	return -EINVAL;
}

static int open_nets(const struct vm_config *config, struct vm_backends *ret, struct err *err)
{
	int r = 0;

	ret->nets = calloc(MAX(config->n_nets, 1u), sizeof(struct net *));
	if (!ret->nets)
		return err_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < config->n_nets && r == 0; i++) {
		r = open_net(config, i, ret, err);
		if (r == 0)
			ret->n_nets++;
	}
	return r;
}

static int open_pmem(const struct vm_config *config, struct vm_backends *ret, struct err *err)
{
	int r = 0;

	ret->pmem = calloc(MAX(config->n_pmem, 1u), sizeof(struct pmem *));
	if (!ret->pmem)
		return err_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < config->n_pmem && r == 0; i++) {
		const struct config_pmem *c = &config->pmem[i];
		const struct pmem_opts opts = {.path = c->path, .size = c->size, .ro = c->ro};

		r = pmem_new(&opts, &ret->pmem[i], err);
		if (r == 0)
			ret->n_pmem++;
	}
	return r;
}

static int open_vhosts(const struct vm_config *config, struct vm_backends *ret, struct err *err)
{
	int r = 0;

	ret->vhosts = calloc(MAX(config->n_vhost_users, 1u), sizeof(*ret->vhosts));
	if (!ret->vhosts)
		return err_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < config->n_vhost_users && r == 0; i++)
		r = vhost_backend_open(&config->vhost_users[i], &ret->vhosts[ret->n_vhosts++], err);
	return r;
}

/* Each connection of vsock is a descriptor, and shells give a program 1024. */
static void allow_more_files(void)
{
	enum { FILES = 4096 };
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= FILES)
		return;
	limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)FILES);
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int open_vsock(const struct vm_config *config, struct vm_backends *ret, struct err *err)
{
	enum { BACKLOG = 128 };

	if (!config->vsock)
		return 0;
	allow_more_files();
	return unix_listener_open("--vsock", config->vsock->uds, BACKLOG, &ret->vsock, err);
}

int vm_backends_open(const struct vm_config *config, struct vm_backends *ret, struct err *err)
{
	static int (*const steps[])(const struct vm_config *, struct vm_backends *,
				    struct err *) = {open_disks, open_nets, open_pmem, open_vsock,
						     open_vhosts};
	int r = 0;

	*ret = (struct vm_backends){.vsock = UNIX_LISTENER_NONE};
	for (size_t i = 0; i < ARRAY_SIZE(steps) && r == 0; i++)
		r = steps[i](config, ret, err);
	return r;
}

int vm_backends_check(const struct vm_config *config, struct err *err)
{
	struct vm_backends opened = {.vsock = UNIX_LISTENER_NONE};
	int r = open_disks(config, &opened, err);

	if (r == 0)
		r = open_pmem(config, &opened, err);
	vm_backends_close(&opened);
	return r;
}

void vm_backends_close(struct vm_backends *b)
{
	while (b->n_vhosts > 0)
		vhost_backend_close(&b->vhosts[--b->n_vhosts]);
	free(b->vhosts);
	unix_listener_close(&b->vsock);
	while (b->n_pmem > 0)
		(void)pmem_free(b->pmem[--b->n_pmem]);
	while (b->n_nets > 0)
		(void)net_free(b->nets[--b->n_nets]);
	while (b->n_disks > 0)
		(void)blk_free(b->disks[--b->n_disks]);
	b->helpers = vm_helpers_free(b->helpers);
	b->user_net = user_net_free(b->user_net);
	free(b->pmem);
	free(b->nets);
	free(b->disks);
	*b = (struct vm_backends){.vsock = UNIX_LISTENER_NONE};
}
