/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/smp.h"

#include "rt/acpi.h"
#include "rt/apic.h"
#include "rt/cpu.h"
#include "rt/idt.h"
#include "rt/mem.h"

enum { PAGE_SIZE = 4096, LOW_FIRST = 0x1000, LOW_END = 0x9f000 };

extern const char trampoline[], trampoline_end[];
extern char ap_stacks[]; /* for trampoline.S */
void ap_main(unsigned number);

__attribute__((aligned(16))) char ap_stacks[SMP_MAX * SMP_STACK_SIZE];

static smp_function *ap_function;
static uint32_t bsp_id;
static uint32_t n_up, n_interrupts;

void ap_main(unsigned number)
{
	idt_load();
	apic_init();
	ap_function(number);
	__atomic_fetch_add(&n_up, 1, __ATOMIC_SEQ_CST); /* lock xadd */
	apic_ipi(bsp_id, IPI_FIXED | SMP_VECTOR_UP);
	for (;;)
		irq_wait();
}

static void on_up(struct trap_frame *frame)
{
	(void)frame;
	__atomic_fetch_add(&n_interrupts, 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

bool smp_wait(const uint32_t *counter, uint32_t value)
{
	uint64_t start = rdtsc();

	irq_enable();
	while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) != value) {
		if (rdtsc() - start > 1ULL << 35)
			break;
		cpu_pause();
	}
	irq_disable();
	return __atomic_load_n(counter, __ATOMIC_ACQUIRE) == value;
}

static bool in_page(uint64_t page, uint64_t addr, uint64_t size)
{
	return addr < page + PAGE_SIZE && addr + size > page;
}

/* A low page that holds nothing of what the loader left for us; the real-mode vectors are never
 * touched. */
static uint32_t free_page(const struct pvh_start_info *info)
{
	uint32_t page = LOW_FIRST;

	while (page < LOW_END &&
	       (in_page(page, (uintptr_t)info, sizeof(*info)) ||
		in_page(page, info->cmdline, PAGE_SIZE) ||
		in_page(page, info->memmap, info->n_memmap * sizeof(struct pvh_memmap_entry))))
		page += PAGE_SIZE;
	return page;
}

static bool start_one(uint32_t id, uint32_t page)
{
	uint32_t up = n_up + 1;

	apic_ipi(id, IPI_INIT);
	apic_ipi(id, IPI_STARTUP | page / PAGE_SIZE);
	apic_ipi(id, IPI_STARTUP | page / PAGE_SIZE);
	return smp_wait(&n_up, up) && smp_wait(&n_interrupts, up);
}

unsigned smp_start(const struct pvh_start_info *info, smp_function *function, unsigned *ret_listed)
{
	static uint32_t ids[SMP_MAX];
	const struct acpi_rsdp *rsdp = acpi_rsdp(info);
	const struct acpi_header *madt = rsdp ? acpi_find(rsdp, "APIC") : NULL;
	uint32_t page = free_page(info);
	unsigned started = 1;

	if (!madt)
		return 0;
	ap_function = function;
	bsp_id = apic_id();
	idt_set(SMP_VECTOR_UP, on_up);
	memcpy((void *)(uintptr_t)page, trampoline, (size_t)(trampoline_end - trampoline));
	*ret_listed = acpi_cpus(madt, ids, SMP_MAX);
	for (unsigned i = 0; i < *ret_listed && i < SMP_MAX; i++)
		if (ids[i] != bsp_id && start_one(ids[i], page))
			started++;
	return started;
}
