/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A National Semiconductor 16550A UART on eight ports, wired as on a PC: OUT2 gates the interrupt,
 * carrier, DSR and CTS are on. The line is infinitely fast: the transmitter is always empty, and
 * fewer bytes than the trigger level raise the timeout interrupt at once.
 *
 * Registers are touched by the vCPU threads, input comes on main.
 *
 * Input waits in the character stream until the guest listens, so what is piped in before the
 * guest's driver has set itself up (and cleared the FIFO) is not lost. Listening means: the receive
 * interrupt is enabled, or the line status was read 16 times in a row with nothing else between, as
 * a polling reader does; and a guest that has used RTS has it raised.
 *
 * The end of the input reaches the guest as Ctrl-D (0x04), which a tty in canonical mode turns into
 * end of file: once, after the last byte, and twice when that byte ended no line (the first then
 * only completes the line). After a reset the input is still at its end, and the next guest is told
 * so again.
 *
 * Its verbs, for the user: `send` types text, `break` is a break condition. A break stands at its
 * place in the FIFO, as a zero byte with its mark in LSR.
 */
#ifndef VMM_DEVICES_SERIAL16550_H
#define VMM_DEVICES_SERIAL16550_H

#include <stdint.h>

#include "base/compiler.h"

struct chr;
struct device;
struct io_bus;
struct irq_line;

/* Sees each byte that the guest sends, after it was written out: on the vCPU's thread, under no
 * lock. */
struct serial16550_tap {
	void (*byte)(struct serial16550_tap *tap, uint8_t byte);
};

/*
 * Takes `port` to port + 7. Everything is borrowed and outlives the device, which is chr's receiver
 * until it is freed; tap may be NULL. 0 or -errno.
 */
int serial16550_new(struct io_bus *pio, uint16_t port, struct irq_line *irq, struct chr *chr,
		    struct serial16550_tap *tap, struct device **ret) must_check;

#endif
