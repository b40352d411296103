/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/user.h"

#include <stdint.h>

#include "rt/mem.h"

enum {
	PTE_USER = 4,
	USER_DATA = 0x23,
	USER_CODE = 0x2b,
	FLAGS_IOPL_3 = 0x3002,
	STACK = 16384,
	TSS = 0x30
};

extern uint64_t pml4[]; /* start.S; the directories of the first four gigabytes follow it */

/*
 * IOPL 3 opens the ports by itself, but a software KVM that keeps the flags to itself looks at the
 * bitmap behind the TSS all the same: all zeros, and the byte of ones that ends it (Intel SDM
 * volume 3, 8.7; volume 1, 19.5.2).
 */
struct tss {
	uint8_t state[102];
	uint16_t bitmap_at;
	uint8_t bitmap[8192];
	uint8_t end;
};

extern uint64_t gdt[];

static struct tss tss;
static uint8_t stack[STACK] __attribute__((aligned(16)));

/* The low 4 GiB: one entry, four, and four directories of 512. */
static void open_memory(void)
{
	uint64_t *pdpt = pml4 + 512, *pd = pdpt + 512;

	pml4[0] |= PTE_USER;
	for (unsigned i = 0; i < 4; i++)
		pdpt[i] |= PTE_USER;
	for (unsigned i = 0; i < 4 * 512; i++)
		pd[i] |= PTE_USER;
	__asm__ volatile("movq %%cr3, %%rax; movq %%rax, %%cr3" : : : "rax", "memory");
}

static void open_ports(void)
{
	enum { PRESENT_AVAILABLE_TSS = 0x89 };
	uint64_t base = (uintptr_t)&tss, limit = sizeof(tss) - 1;
	uint64_t low = (limit & 0xffff) | (base & 0xffffff) << 16 |
		       (uint64_t)PRESENT_AVAILABLE_TSS << 40 | (base >> 24 & 0xff) << 56;
	uint64_t descriptor[2] = {low, base >> 32};

	tss.bitmap_at = offsetof(struct tss, bitmap);
	tss.end = 0xff;
	memcpy((char *)gdt + TSS, descriptor, sizeof(descriptor));
	__asm__ volatile("ltr %w0" : : "r"(TSS) : "memory");
}

_Noreturn void user_run(void (*main)(void))
{
	open_memory();
	open_ports();
	__asm__ volatile("pushq %0; pushq %1; pushq %2; pushq %3; pushq %4; iretq"
			 :
			 : "i"(USER_DATA), "r"((uintptr_t)stack + STACK - 8), "i"(FLAGS_IOPL_3),
			   "i"(USER_CODE), "r"(main)
			 : "memory");
	__builtin_unreachable();
}
