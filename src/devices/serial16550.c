/* SPDX-License-Identifier: Apache-2.0 */
/* Register names and bits: PC16550D data sheet, section 8. */
#include "devices/serial16550.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "backend/chr.h"
#include "base/checked.h"
#include "base/mutex.h"
#include "bus/device.h"
#include "bus/io_bus.h"
#include "bus/wires.h"

enum { RBR_THR_DLL, IER_DLM, IIR_FCR, LCR, MCR, LSR, MSR, SCR, REGISTERS };

enum {
	IER_RX = 0x01,
	IER_THRE = 0x02,
	IER_LINE_STATUS = 0x04,
	IER_MODEM_STATUS = 0x08,

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

struct serial16550 {
	struct device dev;
	struct io_region region;
	struct irq_line *irq;
	struct chr *chr;
	struct chr_rx rx;
	struct serial16550_tap *tap;
	_Atomic uint64_t rx_bytes, tx_bytes, interrupts, overruns;

	struct mutex lock; /* leaf; guards the rest */
	uint8_t ier, fcr, lcr, mcr, msr, scr, dll, dlm;
	uint8_t line_errors; /* the LSR bits that reading clears */
	bool thre_pending;
	bool irq_high;

	uint8_t fifo[FIFO_SIZE];
	unsigned head, count;
	uint16_t breaks; /* the slots of the FIFO whose zero byte is a break from the line */

	unsigned polls; /* reads of LSR in a row that showed no data */
	bool polling, rts_used;
	bool refused; /* chr has more and waits for chr_rx_resume() */
	bool at_eof;
	uint8_t last;	  /* the last byte of the input */
	unsigned ctrl_ds; /* still to be put into the FIFO */
};

/* What is left to do once the lock is dropped. */
struct afterwards {
	bool resume, send;
	uint8_t byte;
};

/* ---- interrupts ---- */

static_assert(FIFO_SIZE <= 16, "one bit of breaks for each slot");

static uint16_t slot_bit(unsigned slot)
{
	return (uint16_t)(1U << slot % FIFO_SIZE);
}

/* A break shows in LSR when its byte is the next to be read (PC16550D, 8.4). */
static uint8_t line_status(const struct serial16550 *s)
{
	bool at_break = s->count > 0 && (s->breaks & slot_bit(s->head));

	return s->line_errors | (at_break ? LSR_BREAK : 0);
}

static unsigned trigger_level(const struct serial16550 *s)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	return s->fcr & FCR_ENABLE ? levels[s->fcr >> FCR_TRIGGER_SHIFT] : 1;
}

/* The pending interrupt of the highest priority. */
static uint8_t interrupt_id(const struct serial16550 *s)
{
	if ((s->ier & IER_LINE_STATUS) && line_status(s))
		return IIR_LINE_STATUS;
	if ((s->ier & IER_RX) && s->count > 0)
		return s->count >= trigger_level(s) ? IIR_RX : IIR_RX_TIMEOUT;
	if ((s->ier & IER_THRE) && s->thre_pending)
		return IIR_THRE;
	if ((s->ier & IER_MODEM_STATUS) && (s->msr & MSR_DELTAS))
		return IIR_MODEM_STATUS;
	return IIR_NONE;
}

/*
 * Under the lock, so that the levels that two threads compute reach the line in the order in which
 * they were computed; a line is a leaf (bus/wires.h). In loopback the pin of OUT2 is inactive.
 */
static void update_irq(struct serial16550 *s) REQUIRES(s->lock)
{
	bool gate = (s->mcr & MCR_OUT2) && !(s->mcr & MCR_LOOP);
	bool high = gate && interrupt_id(s) != IIR_NONE;

	if (high == s->irq_high)
		return;
	s->irq_high = high;
	if (high)
		device_count(&s->interrupts, 1);
	irq_line_set(s->irq, high);
}

/* ---- receiver ---- */

static unsigned fifo_room(const struct serial16550 *s)
{
	unsigned size = s->fcr & FCR_ENABLE ? FIFO_SIZE : 1;

	return size > s->count ? size - s->count : 0;
}

static void fifo_push(struct serial16550 *s, uint8_t byte)
{
	s->fifo[(s->head + s->count++) % FIFO_SIZE] = byte;
}

static uint8_t fifo_pop(struct serial16550 *s)
{
	uint8_t byte = s->fifo[s->head];

	if (s->count == 0)
		return 0;
	s->breaks &= (uint16_t)~slot_bit(s->head);
	s->head = (s->head + 1) % FIFO_SIZE;
	s->count--;
	return byte;
}

/* From the outside, not looped back. */
static void receive(struct serial16550 *s, uint8_t byte)
{
	fifo_push(s, byte);
	device_count(&s->rx_bytes, 1);
}

/*
 * A guest that takes interrupts has opened OUT2 too: IER alone is Linux's probe, which tries all of
 * its bits and clears the FIFO later.
 */
static bool listens(const struct serial16550 *s)
{
	if ((s->mcr & MCR_LOOP) || (s->rts_used && !(s->mcr & MCR_RTS)))
		return false;
	return ((s->ier & IER_RX) && (s->mcr & MCR_OUT2)) || s->polling;
}

/* After every change that may let input through. True when chr must be told to go on. */
static bool let_input_in(struct serial16550 *s) REQUIRES(s->lock)
{
	bool resume;

	if (!listens(s))
		return false;
	while (s->ctrl_ds > 0 && fifo_room(s) > 0) {
		receive(s, CTRL_D);
		s->ctrl_ds--;
	}
	/* The guest empties the FIFO in one go, so asking for more before that would only wake main
	 * more often. */
	resume = s->refused && s->count == 0;
	if (resume)
		s->refused = false;
	return resume;
}

static size_t serial_bytes(struct chr_rx *rx, const uint8_t *buf, size_t n)
{
	struct serial16550 *s = container_of(rx, struct serial16550, rx);
	size_t take;

	mutex_lock(&s->lock);
	take = listens(s) ? MIN(n, (size_t)fifo_room(s)) : 0;
	for (size_t i = 0; i < take; i++)
		receive(s, buf[i]);
	if (take > 0)
		s->last = buf[take - 1];
	s->refused = take < n;
	update_irq(s);
	mutex_unlock(&s->lock);
	return take;
}

static unsigned ctrl_ds_needed(const struct serial16550 *s)
{
	return s->last == '\n' || s->last == '\r' ? 1 : 2;
}

static void serial_eof(struct chr_rx *rx)
{
	struct serial16550 *s = container_of(rx, struct serial16550, rx);
	bool resume;

	mutex_lock(&s->lock);
	s->at_eof = true;
	s->ctrl_ds = ctrl_ds_needed(s);
	/* Nothing more comes from there, but chr may have other inputs. */
	resume = let_input_in(s);
	update_irq(s);
	mutex_unlock(&s->lock);
	if (resume)
		chr_rx_resume(s->chr);
}

/* ---- modem lines and loopback ---- */

static uint8_t modem_lines(const struct serial16550 *s)
{
	uint8_t lines = 0;

	if (!(s->mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	lines |= s->mcr & MCR_RTS ? MSR_CTS : 0;
	lines |= s->mcr & MCR_DTR ? MSR_DSR : 0;
	lines |= s->mcr & MCR_OUT1 ? MSR_RI : 0;
	lines |= s->mcr & MCR_OUT2 ? MSR_DCD : 0;
	return lines;
}

static void write_mcr(struct serial16550 *s, uint8_t value)
{
	uint8_t old = s->msr, lines, changed;

	s->mcr = value & MCR_ALL;
	s->rts_used |= (value & (MCR_RTS | MCR_LOOP)) == MCR_RTS;
	lines = modem_lines(s);
	changed = (uint8_t)((old ^ lines) >> 4) & MSR_DELTAS;
	if (lines & MSR_RI)
		changed &= (uint8_t)~MSR_DELTA_RI;
	s->msr = lines | (old & MSR_DELTAS) | changed;
}

static void loop_back(struct serial16550 *s, uint8_t byte)
{
	if (fifo_room(s) > 0) {
		fifo_push(s, byte);
		return;
	}
	s->line_errors |= LSR_OVERRUN;
	device_count(&s->overruns, 1);
}

static void write_lcr(struct serial16550 *s, uint8_t value)
{
	bool begins = (value & ~s->lcr & LCR_BREAK) != 0;

	s->lcr = value;
	/* A break is not carried to the outside; looped back it is a zero byte with its mark. */
	if (begins && (s->mcr & MCR_LOOP)) {
		s->line_errors |= LSR_BREAK;
		loop_back(s, 0);
	}
}

/* ---- registers ---- */

/*
 * A change of FCR_ENABLE alone keeps what is in the receiver, unlike the chip's: Linux enables the
 * receive interrupt before the FIFO, and the first byte of piped input would be lost between the
 * two.
 */
static void write_fcr(struct serial16550 *s, uint8_t value)
{
	s->fcr = value & FCR_ENABLE ? value & (uint8_t)~FCR_CLEAR_RX : 0;
	if (value & FCR_CLEAR_RX) {
		s->count = 0;
		s->breaks = 0;
		s->polling = false;
	}
}

static void write_ier(struct serial16550 *s, uint8_t value)
{
	/* Enabled while the transmitter is empty, which it always is, THRE is pending at once. */
	if (value & ~s->ier & IER_THRE)
		s->thre_pending = true;
	s->ier = value & 0x0f;
}

static void write_thr(struct serial16550 *s, uint8_t value, struct afterwards *after)
{
	s->thre_pending = true;
	if (s->mcr & MCR_LOOP) {
		loop_back(s, value);
		return;
	}
	after->send = true;
	after->byte = value;
}

static uint8_t read_iir(struct serial16550 *s)
{
	uint8_t id = interrupt_id(s);

	if (id == IIR_THRE)
		s->thre_pending = false;
	return s->fcr & FCR_ENABLE ? id | IIR_FIFO : id;
}

static uint8_t read_lsr(struct serial16550 *s)
{
	uint8_t lsr = LSR_TX_EMPTY | line_status(s) | (s->count > 0 ? LSR_DATA : 0);

	s->line_errors = 0;
	s->breaks &= (uint16_t)~slot_bit(s->head);
	if (s->count == 0 && ++s->polls >= POLLS_TO_LISTEN)
		s->polling = true;
	return lsr;
}

static uint8_t read_msr(struct serial16550 *s)
{
	uint8_t msr = s->msr;

	s->msr &= (uint8_t)~MSR_DELTAS;
	return msr;
}

static uint8_t read_register(struct serial16550 *s, uint64_t reg)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case RBR_THR_DLL:
		return dlab ? s->dll : fifo_pop(s);
	case IER_DLM:
		return dlab ? s->dlm : s->ier;
	case IIR_FCR:
		return read_iir(s);
	case LCR:
		return s->lcr;
	case MCR:
		return s->mcr;
	case LSR:
		return read_lsr(s);
	case MSR:
		return read_msr(s);
	default:
		return s->scr;
	}
}

static void write_register(struct serial16550 *s, uint64_t reg, uint8_t value,
			   struct afterwards *after)
{
	bool dlab = s->lcr & LCR_DLAB;

	if (reg == RBR_THR_DLL && !dlab)
		write_thr(s, value, after);
	else if (reg == RBR_THR_DLL)
		s->dll = value;
	else if (reg == IER_DLM && !dlab)
		write_ier(s, value);
	else if (reg == IER_DLM)
		s->dlm = value;
	else if (reg == IIR_FCR)
		write_fcr(s, value);
	else if (reg == LCR)
		write_lcr(s, value);
	else if (reg == MCR)
		write_mcr(s, value);
	else if (reg == SCR)
		s->scr = value;
}

static uint64_t serial_read(struct io_region *region, uint64_t offset, unsigned size)
{
	struct serial16550 *s = container_of(region, struct serial16550, region);
	bool resume;
	uint8_t value;

	(void)size;
	mutex_lock(&s->lock);
	value = read_register(s, offset);
	if (offset != LSR)
		s->polls = 0;
	resume = let_input_in(s);
	update_irq(s);
	mutex_unlock(&s->lock);
	if (resume)
		chr_rx_resume(s->chr);
	return value;
}

static void serial_write(struct io_region *region, uint64_t offset, unsigned size, uint64_t value)
{
	struct serial16550 *s = container_of(region, struct serial16550, region);
	struct afterwards after = {0};

	(void)size;
	mutex_lock(&s->lock);
	s->polls = 0;
	write_register(s, offset, (uint8_t)value, &after);
	after.resume = let_input_in(s);
	update_irq(s);
	mutex_unlock(&s->lock);
	if (after.resume)
		chr_rx_resume(s->chr);
	if (after.send) {
		device_count(&s->tx_bytes, 1);
		(void)chr_write(s->chr, &after.byte, 1);
		if (s->tap)
			s->tap->byte(s->tap, after.byte);
	}
}

/* ---- device ---- */

static void serial_reset(struct device *dev)
{
	struct serial16550 *s = container_of(dev, struct serial16550, dev);

	mutex_lock(&s->lock);
	s->ier = s->fcr = s->lcr = s->mcr = s->scr = s->dlm = s->line_errors = 0;
	s->dll = DIVISOR_9600;
	s->msr = modem_lines(s);
	s->thre_pending = s->polling = s->rts_used = false;
	s->head = s->count = s->polls = s->breaks = 0;
	s->ctrl_ds = s->at_eof ? ctrl_ds_needed(s) : 0;
	update_irq(s);
	mutex_unlock(&s->lock);
}

static void serial_free(struct device *dev)
{
	struct serial16550 *s = container_of(dev, struct serial16550, dev);

	chr_set_rx(s->chr, NULL);
	free(s);
}

/* ---- what the user can see and do ---- */

/* As a byte would come, so it is lost on nobody: a guest that does not listen gets none. */
static int receive_break(struct serial16550 *s, struct err *err) REQUIRES(s->lock)
{
	if (!listens(s))
		return err_set(err, -EBUSY,
			       "the guest does not listen on its serial port; no break was sent");
	if (fifo_room(s) == 0)
		return err_set(err, -EBUSY,
			       "the guest has not read its earlier input from the serial port; no "
			       "break was sent");
	s->breaks |= slot_bit(s->head + s->count);
	receive(s, 0);
	update_irq(s);
	return 0;
}

static int verb_break(struct device *dev, const struct device_value *values, struct err *err)
{
	struct serial16550 *s = container_of(dev, struct serial16550, dev);
	int r;

	(void)values;
	mutex_lock(&s->lock);
	r = receive_break(s, err);
	mutex_unlock(&s->lock);
	return r;
}

static int verb_send(struct device *dev, const struct device_value *values, struct err *err)
{
	struct serial16550 *s = container_of(dev, struct serial16550, dev);
	int r = chr_type(s->chr, values[0].text, values[0].len);

	if (r == -ENOBUFS)
		return err_set(err, -EBUSY,
			       "the guest has not read its earlier input from the serial port; "
			       "nothing was sent");
	return r < 0 ? err_set(err, r, "nothing was sent: %s", strerror(-r)) : 0;
}

static const struct device_stat stats[] = {
	DEVICE_STAT(struct serial16550, rx_bytes, "bytes that came in from the outside"),
	DEVICE_STAT(struct serial16550, tx_bytes, "bytes that the guest sent to the outside"),
	DEVICE_STAT(struct serial16550, interrupts, "how often the interrupt line was raised"),
	DEVICE_STAT(struct serial16550, overruns,
		    "bytes that found the FIFO full, in loopback only: input from outside waits"),
};

static const struct device_param send_params[] = {
	{.name = "text",
	 .type = DEVICE_PARAM_TEXT,
	 .min = 1,
	 .max = CHR_TYPE_MAX,
	 .help = "what to type"},
};

static const struct device_verb verbs[] = {
	{.name = "break",
	 .help = "a break condition on the line, ahead of input that still waits; Linux takes it "
		 "and the next byte as a SysRq",
	 .run = verb_break},
	{.name = "send",
	 .help = "input as if it had been typed; waits until the guest reads it",
	 .params = send_params,
	 .n_params = ARRAY_SIZE(send_params),
	 .run = verb_send},
};

int serial16550_new(struct io_bus *pio, uint16_t port, struct irq_line *irq, struct chr *chr,
		    struct serial16550_tap *tap, struct device **ret)
{
	static const struct device_ops device_ops = {.reset = serial_reset,
						     .free = serial_free,
						     .help = "16550A serial port",
						     .stats = stats,
						     .n_stats = ARRAY_SIZE(stats),
						     .verbs = verbs,
						     .n_verbs = ARRAY_SIZE(verbs)};
	static const struct io_ops io_ops = {.read = serial_read, .write = serial_write};
	struct serial16550 *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->dev = (struct device){.ops = &device_ops, .id = "serial0"};
	s->region = (struct io_region){
		.ops = &io_ops, .name = "serial0", .base = port, .size = REGISTERS};
	s->irq = irq;
	s->chr = chr;
	s->tap = tap;
	s->rx = (struct chr_rx){.bytes = serial_bytes, .eof = serial_eof};
	s->last = '\n'; /* no input at all ends no line */
	mutex_init(&s->lock);
	serial_reset(&s->dev);
	r = io_bus_add(pio, &s->region);
	if (r < 0) {
		free(s);
		return r;
	}
	chr_set_rx(chr, &s->rx);
	*ret = &s->dev;
	return 0;
}
