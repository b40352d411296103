/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio devices that the configuration asks for. A new one is a row of the table. Their order
 * here and in the configuration is their order in the slots, by which guests number them.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/crc32.h"
#include "devices/vhost_device.h"
#include "devices/vhost_net.h"
#include "devices/virtio_balloon.h"
#include "devices/virtio_blk.h"
#include "devices/virtio_console.h"
#include "devices/virtio_mem.h"
#include "devices/virtio_net.h"
#include "devices/virtio_pmem.h"
#include "devices/virtio_rng.h"
#include "devices/virtio_vsock.h"
#include "machine/layout.h"
#include "machine/vm_internal.h"
#include "virtio/transport.h"

enum { AUTO_DISK_QUEUES = 4, SMALL_QUEUE = 64 };

/* The loops over which a device's queues are spread: all, or that of the thread it asks for. */
struct loops {
	struct loop *const *at;
	unsigned n;
};

static struct loops loops_for(struct vm *vm, int iothread)
{
	if (iothread >= 0)
		return (struct loops){&vm->io_loops[iothread], 1};
	return (struct loops){vm->io_loops, vm->n_io_threads};
}

/* ---- each kind ---- */

static unsigned count_disks(const struct vm_config *config)
{
	return config->n_disks;
}

static int make_disk(struct vm *vm, unsigned i, char id[CONFIG_ID_LEN], struct virtio_dev **ret,
		     struct err *err)
{
	const struct config_disk *disk = &vm->config->disks[i];
	struct loops loops = loops_for(vm, disk->iothread);
	const struct virtio_blk_setup setup = {
		.id = config_disk_id(vm->config, i, id),
		.map = &vm->map,
		.loops = loops.at,
		.n_loops = loops.n,
		.packed = disk->packed,
		.queue_size = (uint16_t)disk->qsize,
		.blk = vm->res->backends.disks[i],
		.n_queues = disk->queues ? disk->queues
					 : MIN(vm->config->cpus.boot, (uint32_t)AUTO_DISK_QUEUES),
		.serial = disk->serial,
	};

	(void)err;
	return virtio_blk_new(&setup, ret);
}

/* `none` is an element, too. */
static unsigned count_nets(const struct vm_config *config)
{
	unsigned n = 0;

	while (n < config->n_nets && config_net_kind(&config->nets[n]) != CONFIG_NET_NONE)
		n++;
	return n;
}

/* The configured address, or one that the same VM has every time: 52:54:00 and three bytes from its
 * name and the device's number. */
/* given may be NULL; i: the card's number. */
static int choose_mac(const struct vm *vm, const char *given, unsigned i,
		      uint8_t mac[CONFIG_MAC_LEN])
{
	static const uint8_t prefix[] = {0x52, 0x54, 0x00};
	const char *name = vm->config->name ? vm->config->name : "";
	uint32_t hash;

	if (given)
		return config_parse_mac(given, mac);
	hash = crc32_update(0, name, strlen(name)) + i;
	memcpy(mac, prefix, sizeof(prefix));
	for (unsigned byte = 0; byte < 3; byte++)
		mac[sizeof(prefix) + byte] = (uint8_t)(hash >> (16 - 8 * byte));
	return 0;
}

static int make_net(struct vm *vm, unsigned i, char id[CONFIG_ID_LEN], struct virtio_dev **ret,
		    struct err *err)
{
	const struct config_net *net = &vm->config->nets[i];
	struct loops loops = loops_for(vm, net->iothread);
	struct virtio_net_setup setup = {
		.id = config_net_id(vm->config, i, id),
		.net = vm->res->backends.nets[i],
		.map = &vm->map,
		.loops = loops.at,
		.n_loops = loops.n,
		.queue_size = (uint16_t)net->qsize,
		.packed = net->packed,
		.offload = net->offload,
		.mtu = (uint16_t)net->mtu,
		.bw = net->bw,
		.pps = net->pps,
	};
	int r = choose_mac(vm, net->mac, i, setup.mac);

	(void)err;
	if (r == 0)
		r = virtio_net_new(&setup, ret);
	if (r == 0)
		vm->res->backends.nets[i] = NULL; /* the device's now */
	return r;
}

/* hvc0 and the named ports are one device. */
static unsigned count_consoles(const struct vm_config *config)
{
	return vm_has_hvc(config) || config->n_ports ? 1 : 0;
}

static void on_hvc_bytes(struct virtio_console_tap *tap, const uint8_t *bytes, size_t n)
{
	console_watch_bytes(&container_of(tap, struct vm, hvc_tap)->watch, bytes, n);
}

static unsigned fill_console_ports(struct vm *vm, struct virtio_console_port *ports)
{
	const struct vm_config *config = vm->config;
	bool is_console = vm->res->hvc == NULL;
	unsigned n = 0;

	vm->hvc_tap.bytes = on_hvc_bytes;
	if (vm_has_hvc(config))
		ports[n++] = (struct virtio_console_port){
			.chr = is_console ? vm->res->console : vm->res->hvc,
			.console = true,
			.tap = is_console ? &vm->hvc_tap : NULL,
		};
	for (unsigned i = 0; i < config->n_ports && n < VIRTIO_CONSOLE_MAX_PORTS; i++)
		ports[n++] = (struct virtio_console_port){.name = config->ports[i].name,
							  .chr = vm->res->ports[i]};
	return n;
}

static int make_console(struct vm *vm, unsigned i, char id[CONFIG_ID_LEN], struct virtio_dev **ret,
			struct err *err)
{
	struct virtio_console_port ports[VIRTIO_CONSOLE_MAX_PORTS];
	struct winsize size = vm_terminal_size();
	const struct virtio_console_setup setup = {
		.id = id,
		.map = &vm->map,
		.loop = vm->loop,
		.packed = true,
		.queue_size = SMALL_QUEUE,
		.ports = ports,
		.n_ports = fill_console_ports(vm, ports),
		.cols = size.ws_col,
		.rows = size.ws_row,
	};
	int r;

	(void)snprintf(id, CONFIG_ID_LEN, "console%u", i);
	if (vm->config->n_ports + vm_has_hvc(vm->config) > VIRTIO_CONSOLE_MAX_PORTS)
		return err_set(err, -EINVAL, "--port: a virtio console has %d ports at most",
			       VIRTIO_CONSOLE_MAX_PORTS);
	r = virtio_console_new(&setup, ret);
	if (r == 0)
		vm->virtio_console = *ret;
	return r;
}

static unsigned count_rngs(const struct vm_config *config)
{
	return config->rng ? 1 : 0;
}

static int make_rng(struct vm *vm, unsigned i, char id[CONFIG_ID_LEN], struct virtio_dev **ret,
		    struct err *err)
{
	const struct virtio_rng_setup setup = {
		.id = id,
		.map = &vm->map,
		.loops = vm->io_loops,
		.n_loops = 1,
		.packed = true,
		.queue_size = SMALL_QUEUE,
		.bw = vm->config->rng->bw,
	};

	(void)err;
	(void)snprintf(id, CONFIG_ID_LEN, "rng%u", i);
	return virtio_rng_new(&setup, ret);
}

static unsigned count_balloons(const struct vm_config *config)
{
	return config->balloon ? 1 : 0;
}

static int make_balloon(struct vm *vm, unsigned i, char id[CONFIG_ID_LEN], struct virtio_dev **ret,
			struct err *err)
{
	const struct config_balloon *balloon = vm->config->balloon;
	const struct virtio_balloon_setup setup = {
		.id = id,
		.map = &vm->map,
		.loops = vm->io_loops,
		.n_loops = 1,
		.packed = true,
		.queue_size = SMALL_QUEUE,
		.target = balloon->size,
		.deflate_on_oom = balloon->deflate_on_oom,
		.reporting = balloon->reporting,
		.stats_ns = balloon->stats_ns,
	};
	int r = mm_discard_require(&vm->discards, "--balloon", err);

	(void)snprintf(id, CONFIG_ID_LEN, "balloon%u", i);
	return r < 0 ? r : virtio_balloon_new(&setup, ret);
}

static unsigned count_pmem(const struct vm_config *config)
{
	return config->n_pmem;
}

static int make_pmem(struct vm *vm, unsigned i, char id[CONFIG_ID_LEN], struct virtio_dev **ret,
		     struct err *err)
{
	const struct pmem *pmem = vm->res->backends.pmem[i];
	const struct virtio_pmem_setup setup = {
		.id = config_pmem_id(vm->config, i, id),
		.map = &vm->map,
		.loops = vm->io_loops,
		.n_loops = 1,
		.packed = true,
		.queue_size = SMALL_QUEUE,
		.fd = pmem->fd,
		.ro = pmem->ro,
		.gpa = vm->pmem_gpa[i].v,
		.size = pmem->size,
	};

	(void)err;
	return virtio_pmem_new(&setup, ret);
}

static unsigned count_pluggable(const struct vm_config *config)
{
	return config->memory.max > config->memory.size;
}

static int make_pluggable(struct vm *vm, unsigned i, char id[CONFIG_ID_LEN],
			  struct virtio_dev **ret, struct err *err)
{
	const struct vm_config *c = vm->config;
	const struct virtio_mem_setup setup = {
		.id = id,
		.map = &vm->map,
		.loops = vm->io_loops,
		.n_loops = 1,
		.packed = true,
		.queue_size = SMALL_QUEUE,
		.gpa = vm->pluggable_gpa.v,
		.size = c->memory.max - c->memory.size,
		.block_size = c->memory.block,
		.requested = c->memory.plugged,
	};
	int r = mm_discard_require(&vm->discards, "--mem max=", err);

	(void)snprintf(id, CONFIG_ID_LEN, "mem%u", i);
	return r < 0 ? r : virtio_mem_new(&setup, ret);
}

static unsigned count_vsocks(const struct vm_config *config)
{
	return config->vsock ? 1 : 0;
}

static int make_vsock(struct vm *vm, unsigned i, char id[CONFIG_ID_LEN], struct virtio_dev **ret,
		      struct err *err)
{
	const struct config_vsock *vsock = vm->config->vsock;
	struct loops loops = loops_for(vm, vsock->iothread);
	const struct virtio_vsock_setup setup = {
		.id = id,
		.map = &vm->map,
		.loops = loops.at,
		.n_loops = 1,
		.packed = vsock->packed,
		.queue_size = VIRTIO_VSOCK_MAX_QUEUE_SIZE,
		.cid = vsock->cid,
		.listener = vm->res->backends.vsock.fd,
		.path = vsock->uds,
	};

	(void)err;
	(void)snprintf(id, CONFIG_ID_LEN, "vsock%u", i);
	return virtio_vsock_new(&setup, ret);
}

static unsigned count_vhost_users(const struct vm_config *config)
{
	return config->n_vhost_users;
}

/* Its number is that behind the cards of --net. */
static int make_vhost_net(struct vm *vm, unsigned i, char id[CONFIG_ID_LEN],
			  struct virtio_dev **ret, struct err *err)
{
	const struct config_vhost_user *c = &vm->config->vhost_users[i];
	struct vhost_backend *backend = &vm->res->backends.vhosts[i];
	struct vhost_net_setup setup = {
		.id = config_vhost_user_id(vm->config, i, id),
		.map = &vm->map,
		.loops = loops_for(vm, c->iothread).at,
		.vhost = backend->dev,
		.mtu = (uint16_t)c->mtu,
		.n_pairs = MAX(c->queues, 1u),
		.queue_size = (uint16_t)c->qsize,
		.packed = c->packed,
	};
	int r = choose_mac(vm, c->mac, vm->config->n_nets + i, setup.mac);

	if (r < 0)
		return r;
	setup.watch = vhost_backend_watch(backend, vm, setup.id);
	backend->dev = NULL; /* the device's now */
	return vhost_net_new(&setup, ret, err);
}

static int make_vhost_user(struct vm *vm, unsigned i, char id[CONFIG_ID_LEN],
			   struct virtio_dev **ret, struct err *err)
{
	static const enum vhost_on_lost on_lost[] = {
		[CONFIG_ON_LOST_FAIL] = VHOST_ON_LOST_FAIL,
		[CONFIG_ON_LOST_REPLAY] = VHOST_ON_LOST_REPLAY,
	};
	const struct config_vhost_user *c = &vm->config->vhost_users[i];
	struct vhost_backend *backend = &vm->res->backends.vhosts[i];
	struct vhost_device_setup setup = {
		.id = config_vhost_user_id(vm->config, i, id),
		.map = &vm->map,
		.loops = loops_for(vm, c->iothread).at,
		.vhost = backend->dev,
		.type = backend->type,
		.n_queues = c->queues,
		.max_auto = MIN(vm->config->cpus.boot, (uint32_t)AUTO_DISK_QUEUES),
		.queue_size = (uint16_t)c->qsize,
		.packed = c->packed,
		.on_lost = on_lost[c->on_lost],
	};

	if (backend->type == VIRTIO_ID_NET)
		return make_vhost_net(vm, i, id, ret, err);

	setup.watch = vhost_backend_watch(backend, vm, setup.id);

	backend->dev = NULL; /* the device's now */
	return vhost_device_new(&setup, ret, err);
}

struct virtio_row {
	const char *option;
	unsigned (*count)(const struct vm_config *config);
	/* Device i of this kind. id is room for its id, which lives as long as the VM. */
	int (*make)(struct vm *vm, unsigned i, char id[CONFIG_ID_LEN], struct virtio_dev **ret,
		    struct err *err);
};

static const struct virtio_row virtio_table[] = {
	{"--disk", count_disks, make_disk},
	{"--net", count_nets, make_net},
	{"--port", count_consoles, make_console},
	{"--vsock", count_vsocks, make_vsock},
	{"--rng", count_rngs, make_rng},
	{"--balloon", count_balloons, make_balloon},
	{"--vhost-user", count_vhost_users, make_vhost_user},
	{"--pmem", count_pmem, make_pmem},
	{"--mem max=", count_pluggable, make_pluggable},
};

bool vm_has_virtio_devices(const struct vm_config *config)
{
	for (size_t i = 0; i < ARRAY_SIZE(virtio_table); i++)
		if (virtio_table[i].count(config) > 0)
			return true;
	return false;
}

/* ---- their places ---- */

static int place_on_pci(struct vm *vm, struct virtio_dev *dev, struct err *err)
{
	struct virtio_transport *transport;
	int r;

	if (vm->n_slots == VM_MAX_SLOTS)
		return err_set(err, -ENOSPC,
			       "%s: the PCI bus has room for %d devices, and this is one more",
			       dev->dev.id, VM_MAX_SLOTS);
	/* Slot 0 is the host bridge's. */
	r = virtio_pci_new(dev, vm->pci, vm->n_slots + 1, kvm_vm_wires(vm->kvm), &transport);
	return r < 0 ? err_set(err, r, "%s: its place on the PCI bus can't be made: %s",
			       dev->dev.id, strerror(-r))
		     : 0;
}

/* The tables describe the places that are taken. */
static int place_on_mmio(struct vm *vm, struct virtio_dev *dev, struct err *err)
{
	static const uint8_t gsis[] = LAYOUT_VIRTIO_MMIO_GSIS;
	static_assert(ARRAY_SIZE(gsis) == LAYOUT_VIRTIO_MMIO_PLACES, "an interrupt for each");
	struct virtio_transport *transport;
	struct boot_virtio_mmio *at;
	int r;

	if (vm->n_slots == LAYOUT_VIRTIO_MMIO_PLACES)
		return err_set(err, -ENOSPC,
			       "%s: --transport mmio has interrupt lines for %d devices, and this "
			       "is one more; use --transport pci",
			       dev->dev.id, LAYOUT_VIRTIO_MMIO_PLACES);
	at = &vm->virtio_mmio[vm->n_slots];
	*at = (struct boot_virtio_mmio){
		.base = LAYOUT_VIRTIO_MMIO_BASE + vm->n_slots * VIRTIO_MMIO_SIZE,
		.size = VIRTIO_MMIO_SIZE,
		.gsi = gsis[vm->n_slots],
	};
	r = virtio_mmio_new(dev, &vm->memory, at->base, at->gsi, kvm_vm_wires(vm->kvm), &transport);
	if (r < 0)
		return err_set(err, r, "%s: its registers can't be placed: %s", dev->dev.id,
			       strerror(-r));
	vm->platform.virtio_mmio = vm->virtio_mmio;
	vm->platform.n_virtio_mmio = vm->n_slots + 1;
	return 0;
}

/* Takes the device over; on failure it is freed. */
static int place(struct vm *vm, struct virtio_dev *dev, struct err *err)
{
	int r = vm->config->transport == CONFIG_TRANSPORT_MMIO ? place_on_mmio(vm, dev, err)
							       : place_on_pci(vm, dev, err);

	if (r < 0) {
		(void)device_free(&dev->dev);
		return r;
	}
	vm->devices[vm->n_devices++] = &dev->dev;
	vm->n_slots++;
	return 0;
}

static int add(struct vm *vm, const struct virtio_row *row, unsigned i, struct err *err)
{
	static char no_room[CONFIG_ID_LEN];
	char *id = vm->n_slots < VM_MAX_SLOTS ? vm->ids[vm->n_slots] : no_room;
	struct virtio_dev *dev;
	int r = row->make(vm, i, id, &dev, err);

	if (r < 0)
		return err_set(err, r, "%s: the device can't be made: %s", row->option,
			       strerror(-r));
	return place(vm, dev, err);
}

int vm_add_virtio_devices(struct vm *vm, struct err *err)
{
	int r = 0;

	for (size_t row = 0; row < ARRAY_SIZE(virtio_table) && r == 0; row++) {
		unsigned n = virtio_table[row].count(vm->config);

		for (unsigned i = 0; i < n && r == 0; i++)
			r = add(vm, &virtio_table[row], i, err);
	}
	return r;
}
