/* SPDX-License-Identifier: Apache-2.0 */
/* What a 16550's guest can tell apart, as one struct, and its way into a saved state and back.
 * Register names and bits: PC16550D data sheet, section 8. Of serial16550.c only. */
#ifndef VMM_DEVICES_SERIAL16550_STATE_H
#define VMM_DEVICES_SERIAL16550_STATE_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "state/state.h"

enum {
	IER_RX = 0x01,
	IER_THRE = 0x02,
	IER_LINE_STATUS = 0x04,
	IER_MODEM_STATUS = 0x08,
	IER_ALL = 0x0f,

	IIR_NONE = 0x01,
	IIR_MODEM_STATUS = 0x00,
	IIR_THRE = 0x02,
	IIR_RX = 0x04,
	IIR_LINE_STATUS = 0x06,
	IIR_RX_TIMEOUT = 0x0c,
	IIR_FIFO = 0xc0,

	FCR_ENABLE = 0x01,
	FCR_CLEAR_RX = 0x02,
	FCR_TRIGGER_SHIFT = 6,

	LCR_BREAK = 0x40,
	LCR_DLAB = 0x80,

	MCR_DTR = 0x01,
	MCR_RTS = 0x02,
	MCR_OUT1 = 0x04,
	MCR_OUT2 = 0x08,
	MCR_LOOP = 0x10,
	MCR_ALL = 0x1f,

	LSR_DATA = 0x01,
	LSR_OVERRUN = 0x02,
	LSR_BREAK = 0x10,
	LSR_ERRORS = 0x1e,
	LSR_TX_EMPTY = 0x60, /* THRE and TEMT */

	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,
	MSR_DELTAS = 0x0f,
	MSR_DELTA_RI = 0x04, /* set by RI's trailing edge only */

	FIFO_SIZE = 16,
	POLLS_TO_LISTEN = 16,
	CTRL_D = 0x04,
	DIVISOR_9600 = 12, /* never 0 at reset: Linux's early console divides by it */
};

static_assert(FIFO_SIZE <= 16, "one bit of breaks for each slot");

/* All that a guest can tell apart. */
struct serial_state {
	uint8_t ier, fcr, lcr, mcr, msr, scr, dll, dlm;
	uint8_t line_errors; /* the LSR bits that reading clears */
	bool thre_pending;

	uint8_t fifo[FIFO_SIZE];
	unsigned head, count;
	uint16_t breaks; /* the slots of the FIFO whose zero byte is a break from the line */

	unsigned polls; /* reads of LSR in a row that showed no data */
	bool polling, rts_used;
	uint8_t last;	  /* the last byte of the input */
	unsigned ctrl_ds; /* still to be put into the FIFO */
};

static inline uint16_t slot_bit(unsigned slot)
{
	return (uint16_t)(1U << slot % FIFO_SIZE);
}

enum { SERIAL_STATE_VERSION = 1 };

void serial_state_put(const struct serial_state *now, struct state_writer *w);
/* False when the section is too short, or holds what no serial port can have: the reader knows. */
bool serial_state_get(struct state_reader *r, struct serial_state *ret) must_check;

#endif
