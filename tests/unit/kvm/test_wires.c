/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSIs, edges and doorbells of a real VM. What a vCPU's APIC has been sent is read from its
 * interrupt request register; the vCPU itself runs only where the guest has to write something.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/endian.h"
#include "base/fd.h"
#include "kvm/vcpu_internal.h"

#define PATIENCE_NS (10 * NS_PER_S)
#define APIC	    UINT64_C(0xfee00000)
#define BELLS	    UINT64_C(0xd0000000)

enum { APIC_SVR = 0xf0, APIC_IRR = 0x200, SVR_ENABLED = 1 << 8, RAM_SIZE = 1 << 20 };

static struct kvm_host host;
static struct kvm_vm *vm;
static struct kvm_vcpu *vcpu;
static struct wire_maker *wires;
static void *ram;

static void set_up(void)
{
	static const struct cpu_topology one = {1, 1, 1};
	struct kvm_lapic_state apic;
	struct err err = {0};
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		cr_skip_test("no /dev/kvm that can be used here");
	(void)close(fd);
	cr_assert_eq(kvm_host_open(&host, &err), 0, "%s", err.msg);
	cr_assert_eq(kvm_vm_new(&host, &vm, &err), 0, "%s", err.msg);
	cr_assert_eq(kvm_vcpu_new(vm, &one, 0, &vcpu, &err), 0, "%s", err.msg);
	wires = kvm_vm_wires(vm);
	cr_assert_eq(ioctl(vcpu->fd, KVM_GET_LAPIC, &apic), 0);
	put_le32(apic.regs + APIC_SVR, 0xff | SVR_ENABLED);
	cr_assert_eq(ioctl(vcpu->fd, KVM_SET_LAPIC, &apic), 0);
}

static void tear_down(void)
{
	(void)kvm_vcpu_free(vcpu);
	(void)kvm_vm_free(vm);
	kvm_host_close(&host);
}

TestSuite(kvm_wires, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- what the APIC has been sent ---- */

/* Takes the request for a vector back, if there is one. */
static bool take_request(unsigned vector)
{
	struct kvm_lapic_state apic;
	char *word = apic.regs + APIC_IRR + vector / 32 * 16;
	uint32_t bits, bit = 1u << vector % 32;

	cr_assert_eq(ioctl(vcpu->fd, KVM_GET_LAPIC, &apic), 0);
	bits = get_le32(word);
	if (!(bits & bit))
		return false;
	put_le32(word, bits & ~bit);
	cr_assert_eq(ioctl(vcpu->fd, KVM_SET_LAPIC, &apic), 0);
	return true;
}

/* KVM may inject from a work queue of its own. */
static bool await_request(unsigned vector)
{
	uint64_t until = clock_now_ns() + PATIENCE_NS;

	while (!take_request(vector)) {
		if (clock_now_ns() > until)
			return false;
		(void)sched_yield();
	}
	return true;
}

static struct msi_route *new_msi(void)
{
	struct msi_route *route;

	cr_assert_eq(wires->ops->msi(wires, &route), 0);
	return route;
}

/* ---- MSIs ---- */

Test(kvm_wires, msi__is_delivered_while_it_is_not_masked)
{
	struct msi_route *m = new_msi();

	cr_assert_eq(m->ops->unmask(m, APIC, 0x41), 0);
	eventfd_kick(m->fd);
	cr_assert(await_request(0x41));
	cr_assert_not(m->ops->pending(m));
	eventfd_kick(m->fd);
	cr_assert(await_request(0x41), "each time");
}

Test(kvm_wires, masked_msi__gathers_and_is_delivered_once)
{
	struct msi_route *m = new_msi();

	cr_assert_eq(m->ops->unmask(m, APIC, 0x41), 0);
	m->ops->mask(m);
	cr_assert_not(m->ops->pending(m));
	eventfd_kick(m->fd);
	eventfd_kick(m->fd);
	cr_assert(m->ops->pending(m));
	cr_assert(m->ops->pending(m), "asking changes nothing");
	cr_assert_not(take_request(0x41));
	cr_assert_eq(m->ops->unmask(m, APIC, 0x41), 0);
	cr_assert(await_request(0x41));
	m->ops->mask(m); /* waits for what KVM has under way */
	cr_assert_not(take_request(0x41), "once");
	cr_assert_not(m->ops->pending(m), "and it is gone");
}

Test(kvm_wires, pending_msi__need_not_have_been_asked_for)
{
	struct msi_route *m = new_msi();

	eventfd_kick(m->fd);
	cr_assert_eq(m->ops->unmask(m, APIC, 0x41), 0);
	cr_assert(await_request(0x41));
	m->ops->mask(m);
	cr_assert_not(take_request(0x41));
	cr_assert_not(m->ops->pending(m));
}

Test(kvm_wires, delivered_before_masking__is_not_pending)
{
	struct msi_route *m = new_msi();

	cr_assert_eq(m->ops->unmask(m, APIC, 0x41), 0);
	eventfd_kick(m->fd);
	m->ops->mask(m);
	cr_assert(take_request(0x41));
	cr_assert_not(m->ops->pending(m));
}

Test(kvm_wires, open_msi__goes_to_where_it_was_sent_last)
{
	struct msi_route *m = new_msi();

	cr_assert_eq(m->ops->unmask(m, APIC, 0x41), 0);
	cr_assert_eq(m->ops->unmask(m, APIC, 0x52), 0);
	eventfd_kick(m->fd);
	cr_assert(await_request(0x52));
	m->ops->mask(m);
	cr_assert_not(take_request(0x41));
}

Test(kvm_wires, msi_that_is_no_interrupt__is_refused_and_stays_pending)
{
	static const uint64_t addresses[] = {0, 0x1000, 0xfed00000, 0xfef00000, UINT64_C(1) << 40};
	struct msi_route *m = new_msi();

	cr_assert_eq(m->ops->unmask(m, APIC, 0x41), 0);
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++)
		cr_assert_eq(m->ops->unmask(m, addresses[i], 0x41), -EINVAL);
	eventfd_kick(m->fd);
	cr_assert(m->ops->pending(m));
	cr_assert_eq(m->ops->unmask(m, APIC, 0x41), 0);
	cr_assert(await_request(0x41));
}

Test(kvm_wires, clear__masks_and_forgets)
{
	struct msi_route *m = new_msi();

	cr_assert_eq(m->ops->unmask(m, APIC, 0x41), 0);
	m->ops->clear(m);
	eventfd_kick(m->fd);
	cr_assert(m->ops->pending(m));
	eventfd_kick(m->fd); /* once seen and once not */
	m->ops->clear(m);
	cr_assert_not(m->ops->pending(m));
	cr_assert_eq(m->ops->unmask(m, APIC, 0x41), 0);
	m->ops->mask(m);
	cr_assert_not(take_request(0x41));
}

Test(kvm_wires, many_msis__don_t_disturb_each_other)
{
	struct msi_route *m[300];

	for (unsigned i = 0; i < ARRAY_SIZE(m); i++) {
		m[i] = new_msi();
		cr_assert_eq(m[i]->ops->unmask(m[i], APIC, 0x40 + i % 100), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(m); i += 3)
		m[i]->ops->mask(m[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(m); i++) {
		eventfd_kick(m[i]->fd);
		cr_assert_eq(take_request(0x40 + i % 100), i % 3 != 0, "MSI %u", i);
		cr_assert_eq(m[i]->ops->pending(m[i]), i % 3 == 0, "MSI %u", i);
	}
}

Test(kvm_wires, msis__run_out_with_an_error)
{
	struct msi_route *route;
	int limit = host.max_routes, r = 0;

	host.max_routes = KVM_VM_GSIS + 2;
	(void)new_msi();
	(void)new_msi();
	r = wires->ops->msi(wires, &route);
	host.max_routes = limit;
	cr_assert_eq(r, -ENOSPC);
}

Test(kvm_wires, reset__masks_all_and_keeps_the_pins)
{
	struct msi_route *m = new_msi();
	int edge;

	cr_assert_eq(wires->ops->edge(wires, 5, &edge), 0);
	cr_assert_eq(m->ops->unmask(m, APIC, 0x41), 0);
	eventfd_kick(m->fd);
	cr_assert(await_request(0x41));
	cr_assert_eq(kvm_vm_reset(vm), 0);
	eventfd_kick(m->fd);
	cr_assert_not(take_request(0x41));
	m->ops->clear(m);
	cr_assert_eq(m->ops->unmask(m, APIC, 0x42), 0);
	eventfd_kick(m->fd);
	cr_assert(await_request(0x42));
}

static atomic_bool done;

static void *raiser(void *arg)
{
	const struct msi_route *m = arg;

	for (unsigned i = 0; i < 3000; i++)
		eventfd_kick(m->fd);
	atomic_store(&done, true);
	return NULL;
}

/* Two vCPUs that change routes at once, and a device that fires all the time. */
static void *masker(void *arg)
{
	struct msi_route *m = arg;

	while (!atomic_load(&done)) {
		cr_assert_eq(m->ops->unmask(m, APIC, 0x60), 0);
		m->ops->mask(m);
	}
	return NULL;
}

Test(kvm_wires, masked_and_unmasked_under_fire__the_last_one_is_never_lost)
{
	struct msi_route *m = new_msi(), *other = new_msi();
	pthread_t threads[2];

	cr_assert_eq(pthread_create(&threads[0], NULL, raiser, m), 0);
	cr_assert_eq(pthread_create(&threads[1], NULL, masker, other), 0);
	while (!atomic_load(&done)) {
		cr_assert_eq(m->ops->unmask(m, APIC, 0x41), 0);
		m->ops->mask(m);
		(void)m->ops->pending(m);
	}
	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(pthread_join(threads[i], NULL), 0);
	(void)take_request(0x41);
	eventfd_kick(m->fd);
	cr_assert_eq(m->ops->unmask(m, APIC, 0x41), 0);
	cr_assert(await_request(0x41));
}

/* ---- edges ---- */

static void unmask_pin(unsigned pin, uint8_t vector)
{
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC};

	cr_assert_eq(ioctl(vm->fd, KVM_GET_IRQCHIP, &chip), 0);
	chip.chip.ioapic.redirtbl[pin].bits = vector; /* edge, physical, to APIC 0 */
	cr_assert_eq(ioctl(vm->fd, KVM_SET_IRQCHIP, &chip), 0);
}

Test(kvm_wires, edge__is_one_interrupt_of_its_pin)
{
	int fd;

	cr_assert_eq(wires->ops->edge(wires, 23, &fd), 0);
	unmask_pin(23, 0x77);
	eventfd_kick(fd);
	cr_assert(await_request(0x77));
	eventfd_kick(fd);
	cr_assert(await_request(0x77), "the pin is low again in between");
}

Test(kvm_wires, edge__of_every_pin_and_no_other)
{
	int fd;

	for (unsigned pin = 0; pin < KVM_VM_GSIS; pin++)
		cr_assert_eq(wires->ops->edge(wires, pin, &fd), 0);
	cr_assert_eq(wires->ops->edge(wires, 24, &fd), -EINVAL);
	cr_assert_eq(wires->ops->edge(wires, 1, &fd), -ENOSPC);
}

/* ---- doorbells: the guest writes, again and again, and says so on a port ---- */

static struct io_bus ports, memory;
static unsigned trapped; /* writes that came out of the kernel */

static uint64_t no_read(struct io_region *region, uint64_t offset, unsigned size)
{
	(void)region;
	(void)offset;
	(void)size;
	return 0;
}

static void count_write(struct io_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	(void)region;
	(void)offset;
	(void)size;
	(void)value;
	trapped++;
}

static void stop_write(struct io_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	(void)region;
	(void)offset;
	(void)size;
	(void)value;
	kvm_vcpu_kick(vcpu);
}

static const struct io_ops count_ops = {.read = no_read, .write = count_write, .max_size = 8};
static const struct io_ops stop_ops = {.read = no_read, .write = stop_write};
static struct io_region bells = {&count_ops, "bells", BELLS, 4096};
static struct io_region stop = {&stop_ops, "stop", 0xf4, 1};

static void start_guest(void)
{
	static const uint8_t code[] = {
		0xc7, 0x05, 0,	  0, 0, 0xd0, 5,    0, 0, 0, /* movl $5, BELLS */
		0x66, 0xc7, 0x05, 4, 0, 0,    0xd0, 7, 0,    /* movw $7, BELLS + 4 */
		0xe6, 0xf4,				     /* out %al, $0xf4 */
		0xeb, 0xe9,				     /* again */
	};
	struct kvm_entry entry = {.rip = 0x1000, .rsp = 0x8000};
	struct mm_map map = {0};
	struct err err = {0};

	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(ram, MAP_FAILED);
	cr_assert_eq(mm_map_add(&map,
				&(struct mm_region){
					.gpa = GPA(0), .size = RAM_SIZE, .host = ram, .fd = -1}),
		     0);
	cr_assert_eq(mm_map_write(&map, GPA(0x1000), code, sizeof(code)), 0);
	cr_assert_eq(kvm_vm_set_memory(vm, &map, &err), 0, "%s", err.msg);
	cr_assert_eq(kvm_vcpu_set_entry(vcpu, &entry, &err), 0, "%s", err.msg);
	kvm_vcpu_set_up_kick_signal();
	kvm_vcpu_bind_thread(vcpu);
	cr_assert_eq(io_bus_add(&memory, &bells), 0);
	cr_assert_eq(io_bus_add(&ports, &stop), 0);
}

/* Both writes of the guest's once; how many of them trapped. */
static unsigned run_guest(void)
{
	trapped = 0;
	cr_assert_eq(kvm_vcpu_run(vcpu, &ports, &memory), KVM_STOP_KICKED);
	return trapped;
}

static uint64_t rings(const struct doorbell *bell)
{
	eventfd_t n;

	return eventfd_read(bell->fd, &n) == 0 ? n : 0;
}

Test(kvm_wires, doorbell__rings_without_leaving_the_kernel)
{
	struct doorbell *bell;

	start_guest();
	cr_assert_eq(wires->ops->doorbell(wires, &bell), 0);
	cr_assert_eq(run_guest(), 2, "it hangs nowhere yet");
	cr_assert_eq(bell->ops->attach(bell, BELLS, 4, false, 0), 0);
	cr_assert_eq(run_guest(), 1);
	cr_assert_eq(rings(bell), 1);
	cr_assert_eq(bell->ops->attach(bell, BELLS + 4, 2, false, 0), 0, "it moves");
	cr_assert_eq(run_guest(), 1);
	cr_assert_eq(rings(bell), 1);
	bell->ops->detach(bell);
	bell->ops->detach(bell);
	cr_assert_eq(run_guest(), 2);
	cr_assert_eq(rings(bell), 0);
}

Test(kvm_wires, doorbell__listens_to_its_size_and_value_only)
{
	struct doorbell *a, *b;

	start_guest();
	cr_assert_eq(wires->ops->doorbell(wires, &a), 0);
	cr_assert_eq(wires->ops->doorbell(wires, &b), 0);
	cr_assert_eq(a->ops->attach(a, BELLS, 4, true, 4), 0);
	cr_assert_eq(b->ops->attach(b, BELLS, 4, true, 5), 0, "two at one address");
	cr_assert_eq(run_guest(), 1);
	cr_assert_eq(rings(a), 0);
	cr_assert_eq(rings(b), 1);
	cr_assert_eq(a->ops->attach(a, BELLS + 4, 4, false, 0), 0);
	b->ops->detach(b);
	cr_assert_eq(run_guest(), 2, "2 bytes are not 4");
	cr_assert_eq(rings(a), 0);
}

Test(kvm_wires, doorbell__of_any_size_where_the_host_can)
{
	struct doorbell *bell;

	start_guest();
	cr_assert_eq(wires->ops->doorbell(wires, &bell), 0);
	if (host.any_length) {
		cr_assert_eq(bell->ops->attach(bell, BELLS + 4, 0, false, 0), 0);
		cr_assert_eq(run_guest(), 1);
		cr_assert_eq(rings(bell), 1);
	}
	host.any_length = false;
	cr_assert_eq(bell->ops->attach(bell, BELLS + 4, 0, false, 0), -ENOTSUP);
	cr_assert_eq(run_guest(), 2, "and then it traps");
}

Test(kvm_wires, doorbell__where_another_hangs_is_refused)
{
	struct doorbell *a, *b;

	cr_assert_eq(wires->ops->doorbell(wires, &a), 0);
	cr_assert_eq(wires->ops->doorbell(wires, &b), 0);
	cr_assert_eq(a->ops->attach(a, BELLS, 4, false, 0), 0);
	cr_assert_eq(b->ops->attach(b, BELLS, 4, false, 0), -EEXIST);
	a->ops->detach(a);
	cr_assert_eq(b->ops->attach(b, BELLS, 4, false, 0), 0);
}
