/* SPDX-License-Identifier: Apache-2.0 */
/* The maker of wires, and the two simple ones: doorbells and edges. */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "base/log.h"
#include "kvm/vm_internal.h"

/* ---- doorbells ---- */

static void bell_detach(struct doorbell *bell)
{
	struct kvm_bell *b = container_of(bell, struct kvm_bell, bell);

	if (!b->attached)
		return;
	b->at.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
	if (ioctl(b->vm->fd, KVM_IOEVENTFD, &b->at) < 0)
		log_error("KVM keeps the doorbell at %#llx: error %d",
			  (unsigned long long)b->at.addr, errno);
	b->attached = false;
}

static int bell_attach(struct doorbell *bell, uint64_t address, unsigned size, bool match,
		       uint64_t value)
{
	struct kvm_bell *b = container_of(bell, struct kvm_bell, bell);

	bell_detach(bell);
	if (size == 0 && !b->vm->host->any_length)
		return -ENOTSUP;
	b->at = (struct kvm_ioeventfd){
		.addr = address,
		.len = size,
		.fd = bell->fd,
		.flags = match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0,
		.datamatch = match ? value : 0,
	};
	if (ioctl(b->vm->fd, KVM_IOEVENTFD, &b->at) < 0)
		return -errno;
	b->attached = true;
	return 0;
}

static const struct doorbell_ops bell_ops = {.attach = bell_attach, .detach = bell_detach};

static int bell_make(struct kvm_vm *vm, struct kvm_bell **ret)
{
	struct kvm_bell *b = calloc(1, sizeof(*b));
	int fd;

	if (!b)
		return -ENOMEM;
	fd = eventfd_new();
	if (fd < 0) {
		free(b);
		return fd;
	}
	b->bell = (struct doorbell){.ops = &bell_ops, .fd = fd};
	b->vm = vm;
	*ret = b;
	return 0;
}

static int new_doorbell(struct wire_maker *maker, struct doorbell **ret)
{
	struct kvm_wires *w = container_of(maker, struct kvm_wires, maker);
	struct kvm_bell **grown = realloc(w->bells, (w->n_bells + 1) * sizeof(*grown));
	int r;

	if (!grown)
		return -ENOMEM;
	w->bells = grown;
	r = bell_make(container_of(w, struct kvm_vm, wires), &w->bells[w->n_bells]);
	if (r == 0)
		*ret = &w->bells[w->n_bells++]->bell;
	return r;
}

/* ---- edges ---- */

/* KVM raises the pin and lowers it again for each write. */
static int new_edge(struct wire_maker *maker, unsigned gsi, int *ret_fd)
{
	struct kvm_wires *w = container_of(maker, struct kvm_wires, maker);
	int fd, r;

	if (gsi >= KVM_VM_GSIS)
		return -EINVAL;
	if (w->n_edges == ARRAY_SIZE(w->edges))
		return -ENOSPC;
	fd = eventfd_new();
	if (fd < 0)
		return fd;
	r = kvm_vm_irqfd(container_of(w, struct kvm_vm, wires), fd, gsi, 0);
	if (r < 0) {
		(void)fd_close(fd);
		return r;
	}
	w->edges[w->n_edges++] = fd;
	*ret_fd = fd;
	return 0;
}

/* ---- the maker ---- */

static const struct wire_maker_ops maker_ops = {
	.msi = kvm_msi_new, .doorbell = new_doorbell, .edge = new_edge};

int kvm_wires_init(struct kvm_vm *vm)
{
	vm->wires.maker.ops = &maker_ops;
	mutex_init(&vm->wires.lock);
	return kvm_msi_init(vm);
}

struct wire_maker *kvm_vm_wires(struct kvm_vm *vm)
{
	return &vm->wires.maker;
}

void kvm_wires_done(struct kvm_vm *vm)
{
	struct kvm_wires *w = &vm->wires;

	kvm_msi_done(vm);
	for (unsigned i = 0; i < w->n_bells; i++) {
		(void)fd_close(w->bells[i]->bell.fd);
		free(w->bells[i]);
	}
	free(w->bells);
	for (unsigned i = 0; i < w->n_edges; i++)
		(void)fd_close(w->edges[i]);
}
