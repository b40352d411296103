/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/idt.h"

#include "abi.h"

#include "rt/cpu.h"
#include "rt/io.h"
#include "rt/print.h"

enum { N_VECTORS = 256, STUB_SIZE = 16, CODE64 = 0x10, INTERRUPT_GATE = 0x8e, EXIT_BAD_TRAP = 254 };

struct gate {
	uint16_t offset0, selector;
	uint8_t ist, type;
	uint16_t offset16;
	uint32_t offset32, reserved;
};

struct __attribute__((packed)) table_pointer {
	uint16_t limit;
	uint64_t base;
};

extern const char trap_stubs[];
void trap_dispatch(struct trap_frame *frame); /* called by trap.S */

static struct gate idt[N_VECTORS];
static trap_handler *handlers[N_VECTORS];

void trap_dispatch(struct trap_frame *frame)
{
	uint64_t cr2;

	if (handlers[frame->vector]) {
		handlers[frame->vector](frame);
		return;
	}
	__asm__("movq %%cr2, %0" : "=r"(cr2));
	print("unexpected trap %lu error %lx rip %lx cr2 %lx\n", frame->vector, frame->error,
	      frame->rip, cr2);
	outb(VMM_EXIT_PORT, EXIT_BAD_TRAP);
	cpu_halt_forever();
}

static void load(const void *base, uint16_t limit)
{
	struct table_pointer pointer = {.limit = limit, .base = (uintptr_t)base};

	__asm__ volatile("lidt %0" : : "m"(pointer));
}

void idt_load(void)
{
	load(idt, sizeof(idt) - 1);
}

void idt_load_empty(void)
{
	load(idt, 0);
}

void idt_init(void)
{
	for (unsigned i = 0; i < N_VECTORS; i++) {
		uintptr_t stub = (uintptr_t)trap_stubs + (uintptr_t)i * STUB_SIZE;

		idt[i] = (struct gate){
			.offset0 = (uint16_t)stub,
			.selector = CODE64,
			.type = INTERRUPT_GATE,
			.offset16 = (uint16_t)(stub >> 16),
		};
	}
	idt_load();
}

void idt_set(uint8_t vector, trap_handler *handler)
{
	handlers[vector] = handler;
}
