/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/serial.h"

#include "rt/apic.h"
#include "rt/cpu.h"
#include "rt/idt.h"
#include "rt/io.h"

enum { VECTOR_SERIAL = 0x34 };

void serial_init(void)
{
	outb(UART_IER, 0);
	outb(UART_LCR, UART_LCR_8N1);
	outb(UART_FCR, UART_FCR_ENABLE | UART_FCR_CLEAR);
	outb(UART_MCR, UART_MCR_DTR_RTS);
	/* We poll, and without OUT2 no interrupt comes; but it tells the other side that we take
	 * input from now on. */
	outb(UART_IER, UART_IER_RX);
}

void serial_write(const void *buf, size_t n)
{
	const uint8_t *p = buf;

	while (n) {
		size_t chunk = n < UART_FIFO_SIZE ? n : UART_FIFO_SIZE;

		while (!(inb(UART_LSR) & UART_LSR_THRE))
			cpu_pause();
		outsb(UART_DATA, p, chunk);
		p += chunk;
		n -= chunk;
	}
}

void serial_burst(const void *buf, size_t n)
{
	outsb(UART_DATA, buf, n);
}

int serial_poll(void)
{
	return inb(UART_LSR) & UART_LSR_READY ? inb(UART_DATA) : -1;
}

uint8_t serial_getc(void)
{
	int c;

	while ((c = serial_poll()) < 0)
		cpu_pause();
	return (uint8_t)c;
}

static void on_receive(struct trap_frame *frame)
{
	(void)frame;
	outb(UART_IER,
	     0); /* the line falls; serial_getc_irq() arms it again once it has read everything */
	apic_eoi();
}

uint8_t serial_getc_irq(void)
{
	int c;

	idt_set(VECTOR_SERIAL, on_receive);
	ioapic_route(VMM_COM1_GSI, VECTOR_SERIAL, apic_id());
	outb(UART_MCR, UART_MCR_DTR_RTS | UART_MCR_OUT2);
	while ((c = serial_poll()) < 0) {
		outb(UART_IER, UART_IER_RX);
		irq_wait();
	}
	return (uint8_t)c;
}
