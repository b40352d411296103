/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts and exceptions. One table for all processors. */
#ifndef GUEST_IDT_H
#define GUEST_IDT_H

#include <stdint.h>

/* As trap.S pushes it. */
struct trap_frame {
	uint64_t r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

typedef void trap_handler(struct trap_frame *frame);

void idt_init(void);
/* The calling processor takes the table; idt_init() did so for the first. */
void idt_load(void);
/* Interrupt handlers end with apic_eoi(). A vector without handler prints its frame and ends the
 * guest with 254. */
void idt_set(uint8_t vector, trap_handler *handler);
/* A table with nothing in it: the next exception shuts the processor down. */
void idt_load_empty(void);

#endif
