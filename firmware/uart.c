/* SPDX-License-Identifier: Apache-2.0 */
/* Tries out the 16550 behind COM1 (PC16550D data sheet): registers, loopback, FIFOs, interrupts by
 * its GSI. */
#include "abi.h"

#include "rt/apic.h"
#include "rt/cpu.h"
#include "rt/guest.h"
#include "rt/idt.h"
#include "rt/io.h"
#include "rt/print.h"
#include "rt/serial.h"

enum { VECTOR_UART = 0x32, MCR_OUT1 = 0x04, MSR_LINES = 0xf0 };

static volatile unsigned n_thre;

/* Reads the identification until nothing is pending, as a driver of an edge-triggered line must. */
static void on_uart(struct trap_frame *frame)
{
	(void)frame;
	while ((inb(UART_IIR) & UART_IIR_ID) == UART_IIR_THRE)
		n_thre++;
	apic_eoi();
}

static bool check_registers(void)
{
	bool ok = true;

	for (unsigned value = 0; value < 256; value += 85) {
		outb(UART_SCR, (uint8_t)value);
		ok &= inb(UART_SCR) == value;
	}
	ok = guest_check(ok, "the scratch register keeps its value");
	outb(UART_LCR, UART_LCR_8N1 | UART_LCR_DLAB);
	outb(UART_DATA, 0x34);
	outb(UART_IER, 0x12);
	ok &= guest_check(inb(UART_DATA) == 0x34 && inb(UART_IER) == 0x12,
			  "the divisor keeps its value");
	outb(UART_DATA, 1); /* 115200 */
	outb(UART_IER, 0);
	outb(UART_LCR, UART_LCR_8N1);
	ok &= guest_check(inb(UART_IER) == UART_IER_RX,
			  "the divisor lies apart from the interrupt enables");
	ok &= guest_check(inb(UART_LCR) == UART_LCR_8N1, "the line control keeps its value");
	return ok;
}

static bool check_fifos(void)
{
	bool ok;

	outb(UART_FCR, 0);
	ok = guest_check((inb(UART_IIR) & UART_IIR_FIFOS) == 0, "no FIFO bits when they are off");
	outb(UART_FCR, UART_FCR_ENABLE | UART_FCR_CLEAR);
	return ok & guest_check((inb(UART_IIR) & UART_IIR_FIFOS) == UART_IIR_FIFOS,
				"both FIFO bits when they are on");
}

/* In loopback the modem control lines come back as status: RTS as CTS, DTR as DSR, OUT1 as RI, OUT2
 * as DCD. */
static bool check_loopback_lines(void)
{
	static const struct {
		uint8_t out, in;
	} lines[] = {{0x00, 0x00}, {0x01, 0x20}, {0x02, 0x10}, {0x04, 0x40}, {0x08, 0x80}};
	bool ok = true;

	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		outb(UART_MCR, UART_MCR_LOOP | lines[i].out);
		ok &= (inb(UART_MSR) & MSR_LINES) == lines[i].in;
	}
	return guest_check(ok, "modem lines come back in loopback");
}

static bool check_loopback_data(void)
{
	bool ok = true;

	outb(UART_MCR, UART_MCR_LOOP | MCR_OUT1);
	for (unsigned i = 0; i < UART_FIFO_SIZE; i++)
		outb(UART_DATA, (uint8_t)(0xa0 + i));
	for (unsigned i = 0; i < UART_FIFO_SIZE; i++) {
		while (!(inb(UART_LSR) & UART_LSR_READY) && ok)
			ok = inb(UART_LSR) & UART_LSR_THRE;
		ok &= inb(UART_DATA) == 0xa0 + i;
	}
	ok &= !(inb(UART_LSR) & UART_LSR_READY);
	outb(UART_MCR, UART_MCR_DTR_RTS);
	return guest_check(ok, "a FIFO full of bytes comes back in loopback, in order");
}

static bool check_thre_interrupt(void)
{
	bool ok;

	outb(UART_IER, UART_IER_THRE); /* pending at once: the holding register is empty */
	while (!n_thre)
		irq_wait();
	ok = guest_check(n_thre == 1, "enabling the interrupt while empty gives it once");
	outb(UART_DATA, '.');
	while (n_thre < 2)
		irq_wait();
	outb(UART_DATA, '\n');
	while (n_thre < 3)
		irq_wait();
	outb(UART_IER, 0);
	print("thre interrupts %u\n", n_thre);
	return ok;
}

/*
 * In loopback the interrupts work, but OUT2, which gates the wire on a PC, is cut off: so the
 * identification must say it without an interrupt having come.
 */
static bool check_rx_identification(void)
{
	uint8_t id;
	bool ok;

	outb(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2);
	outb(UART_IER, UART_IER_RX);
	outb(UART_DATA, 'x');
	id = inb(UART_IIR) & UART_IIR_ID;
	ok = guest_check(id == UART_IIR_RX || id == UART_IIR_TIMEOUT,
			 "received data is identified");
	ok &= guest_check(inb(UART_DATA) == 'x', "the looped byte is received");
	ok &= guest_check(inb(UART_IIR) & UART_IIR_NONE, "nothing is pending once it was read");
	outb(UART_IER, 0);
	outb(UART_MCR, UART_MCR_DTR_RTS | UART_MCR_OUT2);
	return ok;
}

int guest_main(const struct pvh_start_info *info)
{
	bool ok;

	guest_init(info);
	apic_init();
	idt_set(VECTOR_UART, on_uart);
	ioapic_route(VMM_COM1_GSI, VECTOR_UART, apic_id());
	ok = check_registers();
	outb(UART_IER, 0); /* no input from outside while the interrupts are looked at */
	ok &= check_fifos();
	ok &= check_loopback_lines();
	ok &= check_loopback_data();
	outb(UART_MCR, UART_MCR_DTR_RTS | UART_MCR_OUT2);
	ok &= check_thre_interrupt();
	ok &= check_rx_identification();
	return guest_finish("uart", ok);
}
