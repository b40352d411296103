/* SPDX-License-Identifier: Apache-2.0 */
/* Every way out of a VM and every way to hang in one; the word how= picks one. */
#include "abi.h"

#include <stddef.h>

#include "rt/apic.h"
#include "rt/args.h"
#include "rt/cpu.h"
#include "rt/guest.h"
#include "rt/idt.h"
#include "rt/io.h"
#include "rt/print.h"
#include "rt/serial.h"
#include "rt/watchdog.h"
#include "rt/ways.h"

/* Its own line of the image: 1 after each start shows that a restart loads the image anew. */
static volatile unsigned starts;

enum { VECTOR_NMI = 2, VECTOR_GED = 0x39, UNBACKED = 0xd0000000, EXIT_NO_SUCH_WAY = 253 };

static void way_exit(void)
{
	ways_exit((uint8_t)args_number("code", 0));
}

static void way_halt(void)
{
	print("ready\n");
	watchdog_arm();
	cpu_halt_forever();
}

static void way_spin(void)
{
	print("ready\n");
	for (;;)
		__asm__ volatile("1: jmp 1b" : : : "memory");
}

static void say_panic(void)
{
	print("[    0.421337] " VMM_PANIC_TEXT ": test panic\n");
	print("[    0.421338] CPU: 0 PID: 1 Comm: init Not tainted\n");
	print("[    0.421339] Call Trace:\n");
	print("[    0.421340]  panic+0x107/0x2a0\n");
	print("[    0.421341] ---[ end " VMM_PANIC_TEXT ": test panic ]---\n");
}

static void way_panic(void)
{
	say_panic();
	ways_triple_fault();
}

static void way_panic_reset(void)
{
	say_panic();
	ways_reset_acpi();
}

static void way_panic_silent(void)
{
	say_panic();
	cpu_halt_forever();
}

static void way_panic_spin(void)
{
	say_panic();
	watchdog_arm();
	for (;;)
		cpu_pause();
}

static void way_pvpanic(void)
{
	print("pvpanic events %x\n", inb(VMM_PVPANIC_PORT));
	watchdog_arm();
	outb(VMM_PVPANIC_PORT, VMM_PVPANIC_PANICKED);
	cpu_halt_forever();
}

/* There is no memory, so that the processor has nothing to run and KVM nothing to emulate. */
static void way_bad_insn(void)
{
	uintptr_t target = UNBACKED;

	__asm__ volatile("jmp *%0" : : "r"(target) : "memory");
}

static void way_echo(void)
{
	uint8_t c = 0;

	if (args_find("irq"))
		apic_init();
	print("ready\n");
	for (;;) {
		c = args_find("irq") ? serial_getc_irq() : serial_getc();
		if (c == VMM_CONSOLE_EOT || c == 'q')
			break;
		serial_write(&c, 1);
	}
	print("%s\n", c == 'q' ? "quit" : "end of input");
	ways_exit(0);
}

/* Lines of 64 bytes, each with its number, so that the reader sees what is missing; cut off at n=
 * bytes. */
static void way_flood(void)
{
	static char line[64];
	uint64_t left = args_number("n", 65536);

	for (size_t i = 8; i < sizeof(line); i++)
		line[i] = (char)('a' + i % 26);
	line[sizeof(line) - 1] = '\n';
	for (uint32_t number = 0; left; number++) {
		size_t n = left < sizeof(line) ? left : sizeof(line);

		for (unsigned i = 0; i < 8; i++)
			line[i] = "0123456789abcdef"[number >> (28 - 4 * i) & 15];
		serial_burst(line, n);
		left -= n;
	}
	ways_exit(0);
}

static void way_noisy(void)
{
	for (unsigned i = 0;; i++)
		print("noise %u\n", i);
}

static volatile uint8_t ged_events;

static void on_ged(struct trap_frame *frame)
{
	(void)frame;
	ged_events |= inb(VMM_GED_PORT);
	apic_eoi();
}

static void enable_button(void)
{
	apic_init();
	idt_set(VECTOR_GED, on_ged);
	ged_events = inb(VMM_GED_PORT) & 0; /* drops what was pending before there was a driver */
	ioapic_route(VMM_GED_GSI, VECTOR_GED, apic_id());
	print("ready\n");
	while (!(ged_events & VMM_GED_EVENT_POWER_BUTTON))
		irq_wait();
	print("power button\n");
}

static void way_wait_button(void)
{
	enable_button();
	ways_poweroff();
}

/* A driver that takes the button and then does nothing about it, as a hung user space does. */
static void way_ignore_button(void)
{
	enable_button();
	watchdog_arm();
	for (;;)
		irq_wait();
}

/* Each byte of input is answered with the processor's clock: whoever asks can compare it with his.
 */
static void way_clock(void)
{
	print("ready\n");
	while (serial_getc() != VMM_CONSOLE_EOT)
		print("tsc %lu\n", rdtsc());
	ways_exit(0);
}

static volatile unsigned nmis;

static void on_nmi(struct trap_frame *frame)
{
	(void)frame;
	nmis++;
}

static void way_wait_nmi(void)
{
	idt_set(VECTOR_NMI, on_nmi);
	print("ready\n");
	while (nmis == 0)
		cpu_pause();
	print("nmi\n");
	ways_exit(0);
}

static void way_debugcon(void)
{
	static const char text[] = "debug console\n";

	print("debugcon %x\n", inb(VMM_DEBUGCON_PORT));
	outsb(VMM_DEBUGCON_PORT, text, sizeof(text) - 1);
	ways_exit(0);
}

static const struct {
	const char *name;
	void (*go)(void);
} ways[] = {
	{"exit", way_exit},
	{"poweroff", ways_poweroff},
	{"reset-acpi", ways_reset_acpi},
	{"reset-kbd", ways_reset_i8042},
	{"reset-cf9", ways_reset_cf9},
	{"triple", ways_triple_fault},
	{"hlt-forever", way_halt},
	{"spin", way_spin},
	{"panic", way_panic},
	{"panic-reset", way_panic_reset},
	{"panic-silent", way_panic_silent},
	{"panic-spin", way_panic_spin},
	{"pvpanic", way_pvpanic},
	{"bad-insn", way_bad_insn},
	{"echo", way_echo},
	{"flood", way_flood},
	{"noisy", way_noisy},
	{"wait-button", way_wait_button},
	{"ignore-button", way_ignore_button},
	{"clock", way_clock},
	{"wait-nmi", way_wait_nmi},
	{"debugcon", way_debugcon},
	{"ask", ways_ask},
};

int guest_main(const struct pvh_start_info *info)
{
	guest_init(info);
	starts++;
	if (!args_find("quiet"))
		print("exit guest, start %u\n", starts);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (args_is("how", ways[i].name))
			ways[i].go();
	print("no such way: %s\n", args_line());
	return EXIT_NO_SUCH_WAY;
}
