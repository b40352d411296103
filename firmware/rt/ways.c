/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/ways.h"

#include "abi.h"

#include "rt/cpu.h"
#include "rt/idt.h"
#include "rt/io.h"
#include "rt/print.h"
#include "rt/serial.h"

void ways_exit(uint8_t code)
{
	outb(VMM_EXIT_PORT, code);
	cpu_halt_forever();
}

void ways_poweroff(void)
{
	outb(VMM_SLEEP_CONTROL_PORT, VMM_SLEEP_EN | VMM_SLEEP_TYPE_S5 << VMM_SLEEP_TYPE_SHIFT);
	cpu_halt_forever();
}

void ways_reset_acpi(void)
{
	outb(VMM_RESET_PORT, VMM_RESET_VALUE);
	cpu_halt_forever();
}

void ways_reset_i8042(void)
{
	outb(VMM_I8042_CMD_PORT, VMM_I8042_CMD_RESET);
	cpu_halt_forever();
}

void ways_reset_cf9(void)
{
	outb(VMM_RESET_CTRL_PORT, VMM_RESET_CTRL_RESET);
	cpu_halt_forever();
}

void ways_triple_fault(void)
{
	idt_load_empty();
	__asm__ volatile("ud2");
	cpu_halt_forever();
}

void ways_ask(void)
{
	print("ready\n");
	for (;;) {
		uint8_t c = serial_getc();

		if (c == 'r')
			ways_reset_acpi();
		if (c == 'k')
			ways_reset_i8042();
		if (c == 'c')
			ways_reset_cf9();
		if (c == 't')
			ways_triple_fault();
		if (c == 'p')
			ways_poweroff();
		if (c == 'q')
			ways_exit(0);
		if (c >= '0' && c <= '9')
			ways_exit((uint8_t)(c - '0'));
	}
}
