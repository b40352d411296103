/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Message-signalled interrupts: a GSI, an eventfd and, while the guest lets it through, a route and
 * an irqfd each. On every change the irqfd is taken off before its route goes, and a route is there
 * before its irqfd: KVM's answer to an irqfd without a route has been a panic (old AMD hosts).
 *
 * KVM empties the eventfd when it takes an interrupt from it and when the irqfd is taken off, so
 * that what can be read while masked was raised while masked. Assigning an irqfd to an eventfd that
 * is not empty injects once.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "base/log.h"
#include "kvm/vm_internal.h"

/* Interrupt messages go to this megabyte (Intel SDM, 3A, 11.11.1); a write elsewhere would be to
 * memory. */
#define APIC_MESSAGES	   UINT64_C(0xfee00000)
#define APIC_MESSAGES_MASK UINT64_C(0xfff00000)

static struct kvm_message *msi_of(struct msi_route *route)
{
	return container_of(route, struct kvm_message, route);
}

/* ---- the routes ---- */

static int make_room(struct kvm_wires *w, unsigned n)
{
	size_t size = sizeof(*w->routing) + n * sizeof(w->routing->entries[0]);
	struct kvm_irq_routing *grown = realloc(w->routing, size);

	if (!grown)
		return -ENOMEM;
	w->routing = grown;
	return 0;
}

static struct kvm_irq_routing_entry pin_entry(uint32_t gsi)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = {.irqchip = KVM_IRQCHIP_IOAPIC, .pin = gsi},
	};
}

static struct kvm_irq_routing_entry msi_entry(const struct kvm_message *m)
{
	return (struct kvm_irq_routing_entry){
		.gsi = m->gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = {.address_lo = (uint32_t)m->address,
			  .address_hi = (uint32_t)(m->address >> 32),
			  .data = m->data},
	};
}

/* Every pin of the IOAPIC, and each MSI that is routed. KVM's default also feeds the 8259s, which
 * this machine doesn't have. */
static int set_routes(struct kvm_vm *vm) REQUIRES(vm->wires.lock)
{
	struct kvm_irq_routing *table = vm->wires.routing;

	table->flags = 0;
	table->nr = 0;
	for (uint32_t gsi = 0; gsi < KVM_VM_GSIS; gsi++)
		table->entries[table->nr++] = pin_entry(gsi);
	for (unsigned i = 0; i < vm->wires.n_msis; i++)
		if (vm->wires.msis[i]->routed)
			table->entries[table->nr++] = msi_entry(vm->wires.msis[i]);
	return ioctl(vm->fd, KVM_SET_GSI_ROUTING, table) < 0 ? -errno : 0;
}

static int add_route(struct kvm_message *m, uint64_t address, uint32_t data)
{
	struct kvm_vm *vm = m->vm;
	int r;

	mutex_lock(&vm->wires.lock);
	m->routed = true;
	m->address = address;
	m->data = data;
	r = set_routes(vm);
	if (r < 0)
		m->routed = false;
	mutex_unlock(&vm->wires.lock);
	return r;
}

static void remove_route(struct kvm_message *m)
{
	struct kvm_vm *vm = m->vm;
	int r;

	mutex_lock(&vm->wires.lock);
	m->routed = false;
	r = set_routes(vm);
	mutex_unlock(&vm->wires.lock);
	/* The route stays until the next change, with nothing that could use it. */
	if (r < 0)
		log_debug("GSI %u: KVM keeps its route: error %d", m->gsi, -r);
}

int kvm_vm_irqfd(const struct kvm_vm *vm, int fd, uint32_t gsi, uint32_t flags)
{
	struct kvm_irqfd irqfd = {.fd = (uint32_t)fd, .gsi = gsi, .flags = flags};

	return ioctl(vm->fd, KVM_IRQFD, &irqfd) < 0 ? -errno : 0;
}

/* ---- struct msi_route ---- */

static void take_off(struct kvm_message *m)
{
	int r = kvm_vm_irqfd(m->vm, m->route.fd, m->gsi, KVM_IRQFD_FLAG_DEASSIGN);

	if (r < 0)
		log_error("GSI %u: KVM keeps its irqfd: error %d", m->gsi, -r);
	m->through = false;
}

static void msi_mask(struct msi_route *route)
{
	struct kvm_message *m = msi_of(route);

	if (!m->through)
		return;
	take_off(m);
	remove_route(m);
}

static int msi_unmask(struct msi_route *route, uint64_t address, uint32_t data)
{
	struct kvm_message *m = msi_of(route);
	int r = (address & APIC_MESSAGES_MASK) == APIC_MESSAGES ? add_route(m, address, data)
								: -EINVAL;

	if (r < 0) {
		msi_mask(route);
		return r;
	}
	if (m->through)
		return 0;
	/* Back to where the irqfd finds it. */
	if (m->held)
		eventfd_kick(route->fd);
	m->held = false;
	r = kvm_vm_irqfd(m->vm, route->fd, m->gsi, 0);
	m->through = r == 0;
	if (r < 0)
		remove_route(m);
	return r;
}

static bool drain(int fd)
{
	eventfd_t count;

	return eventfd_read(fd, &count) == 0;
}

static bool msi_pending(struct msi_route *route)
{
	struct kvm_message *m = msi_of(route);

	if (m->through)
		return false;
	m->held |= drain(route->fd);
	return m->held;
}

static void msi_clear(struct msi_route *route)
{
	msi_mask(route);
	(void)drain(route->fd);
	msi_of(route)->held = false;
}

static const struct msi_route_ops msi_ops = {
	.unmask = msi_unmask, .mask = msi_mask, .pending = msi_pending, .clear = msi_clear};

/* ---- making ---- */

static int msi_make(struct kvm_vm *vm, struct kvm_message **ret)
{
	struct kvm_message *m = calloc(1, sizeof(*m));
	int fd;

	if (!m)
		return -ENOMEM;
	fd = eventfd_new();
	if (fd < 0) {
		free(m);
		return fd;
	}
	m->route = (struct msi_route){.ops = &msi_ops, .fd = fd};
	m->vm = vm;
	m->gsi = KVM_VM_GSIS + vm->wires.n_msis;
	*ret = m;
	return 0;
}

int kvm_msi_new(struct wire_maker *maker, struct msi_route **ret)
{
	struct kvm_wires *w = container_of(maker, struct kvm_wires, maker);
	struct kvm_vm *vm = container_of(w, struct kvm_vm, wires);
	struct kvm_message **grown, *m;
	int r;

	if (KVM_VM_GSIS + w->n_msis >= (unsigned)vm->host->max_routes)
		return -ENOSPC;
	mutex_lock(&w->lock);
	r = make_room(w, KVM_VM_GSIS + w->n_msis + 1);
	grown = r == 0 ? realloc(w->msis, (w->n_msis + 1) * sizeof(*grown)) : NULL;
	if (grown)
		w->msis = grown;
	r = grown ? msi_make(vm, &m) : -ENOMEM;
	if (r == 0) {
		w->msis[w->n_msis++] = m;
		*ret = &m->route;
	}
	mutex_unlock(&w->lock);
	return r;
}

int kvm_msi_init(struct kvm_vm *vm)
{
	int r;

	mutex_lock(&vm->wires.lock);
	r = make_room(&vm->wires, KVM_VM_GSIS);
	if (r == 0)
		r = set_routes(vm);
	mutex_unlock(&vm->wires.lock);
	return r;
}

int kvm_msi_reset(struct kvm_vm *vm)
{
	int r;

	for (unsigned i = 0; i < vm->wires.n_msis; i++)
		msi_clear(&vm->wires.msis[i]->route);
	mutex_lock(&vm->wires.lock);
	r = set_routes(vm);
	mutex_unlock(&vm->wires.lock);
	return r;
}

void kvm_msi_done(struct kvm_vm *vm)
{
	for (unsigned i = 0; i < vm->wires.n_msis; i++) {
		(void)fd_close(vm->wires.msis[i]->route.fd);
		free(vm->wires.msis[i]);
	}
	free(vm->wires.msis);
	free(vm->wires.routing);
}
