/* SPDX-License-Identifier: Apache-2.0 */
/* COM1, a 16550, polled; and the registers for guests that try it out or take its interrupt. */
#ifndef GUEST_SERIAL_H
#define GUEST_SERIAL_H

#include "abi.h"

#include <stddef.h>
#include <stdint.h>

enum {
	UART_DATA = VMM_COM1_PORT, /* receive and transmit; divisor low with DLAB */
	UART_IER = VMM_COM1_PORT + 1,
	UART_IIR = VMM_COM1_PORT + 2, /* read */
	UART_FCR = VMM_COM1_PORT + 2, /* write */
	UART_LCR = VMM_COM1_PORT + 3,
	UART_MCR = VMM_COM1_PORT + 4,
	UART_LSR = VMM_COM1_PORT + 5,
	UART_MSR = VMM_COM1_PORT + 6,
	UART_SCR = VMM_COM1_PORT + 7,
};

enum {
	UART_IER_RX = 0x01,
	UART_IER_THRE = 0x02,
	UART_IIR_NONE = 0x01,
	UART_IIR_ID = 0x0f,
	UART_IIR_THRE = 0x02,
	UART_IIR_RX = 0x04,
	UART_IIR_TIMEOUT = 0x0c,
	UART_IIR_FIFOS = 0xc0,
	UART_FCR_ENABLE = 0x01,
	UART_FCR_CLEAR = 0x06,
	UART_LCR_8N1 = 0x03,
	UART_LCR_DLAB = 0x80,
	UART_MCR_DTR_RTS = 0x03,
	UART_MCR_OUT2 = 0x08, /* lets the interrupt through to the wire */
	UART_MCR_LOOP = 0x10,
	UART_LSR_READY = 0x01,
	UART_LSR_THRE = 0x20,
	UART_FIFO_SIZE = 16,
};

/* 8n1, FIFOs on, interrupts off. */
void serial_init(void);
/* Waits for room before each FIFO full. */
void serial_write(const void *buf, size_t n);
/* All at once without asking for room: the quickest way to make much output. */
void serial_burst(const void *buf, size_t n);
/* A byte, or -1 when none is there. */
int serial_poll(void);
/* Waits for a byte by polling. */
uint8_t serial_getc(void);
/* Waits for a byte asleep, by the receive interrupt; needs idt_init() and apic_init(). */
uint8_t serial_getc_irq(void);

#endif
