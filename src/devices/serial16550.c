/* SPDX-License-Identifier: Apache-2.0 */
/* Register names and bits: PC16550D data sheet, section 8. */
#include "devices/serial16550.h"

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
#include "devices/serial16550_state.h"

enum { RBR_THR_DLL, IER_DLM, IIR_FCR, LCR, MCR, LSR, MSR, SCR, REGISTERS };

struct serial16550 {
	struct device dev;
	struct io_region region;
	struct irq_line *irq;
	struct chr *chr;
	struct chr_rx rx;
	struct serial16550_tap *tap;
	_Atomic uint64_t rx_bytes, tx_bytes, interrupts, overruns;

	struct mutex lock; /* leaf; guards the rest */
	struct serial_state now;
	bool irq_high;
	bool refused; /* chr has more and waits for chr_rx_resume() */
	bool at_eof;
};

/* What is left to do once the lock is dropped. */
struct afterwards {
	bool resume, send;
	uint8_t byte;
};

/* ---- interrupts ---- */

/* A break shows in LSR when its byte is the next to be read (PC16550D, 8.4). */
static uint8_t line_status(const struct serial16550 *s)
{
	bool at_break = s->now.count > 0 && (s->now.breaks & slot_bit(s->now.head));

	return s->now.line_errors | (at_break ? LSR_BREAK : 0);
}

static unsigned trigger_level(const struct serial16550 *s)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	return s->now.fcr & FCR_ENABLE ? levels[s->now.fcr >> FCR_TRIGGER_SHIFT] : 1;
}

/* The pending interrupt of the highest priority. */
static uint8_t interrupt_id(const struct serial16550 *s)
{
	if ((s->now.ier & IER_LINE_STATUS) && line_status(s))
		return IIR_LINE_STATUS;
	if ((s->now.ier & IER_RX) && s->now.count > 0)
		return s->now.count >= trigger_level(s) ? IIR_RX : IIR_RX_TIMEOUT;
	if ((s->now.ier & IER_THRE) && s->now.thre_pending)
		return IIR_THRE;
	if ((s->now.ier & IER_MODEM_STATUS) && (s->now.msr & MSR_DELTAS))
		return IIR_MODEM_STATUS;
	return IIR_NONE;
}

/*
 * Under the lock, so that the levels that two threads compute reach the line in the order in which
 * they were computed; a line is a leaf (bus/wires.h). In loopback the pin of OUT2 is inactive.
 */
static void update_irq(struct serial16550 *s) REQUIRES(s->lock)
{
	bool gate = (s->now.mcr & MCR_OUT2) && !(s->now.mcr & MCR_LOOP);
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
	unsigned size = s->now.fcr & FCR_ENABLE ? FIFO_SIZE : 1;

	return size > s->now.count ? size - s->now.count : 0;
}

static void fifo_push(struct serial16550 *s, uint8_t byte)
{
	s->now.fifo[(s->now.head + s->now.count++) % FIFO_SIZE] = byte;
}

static uint8_t fifo_pop(struct serial16550 *s)
{
	uint8_t byte = s->now.fifo[s->now.head];

	if (s->now.count == 0)
		return 0;
	s->now.breaks &= (uint16_t)~slot_bit(s->now.head);
	s->now.head = (s->now.head + 1) % FIFO_SIZE;
	s->now.count--;
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
	if ((s->now.mcr & MCR_LOOP) || (s->now.rts_used && !(s->now.mcr & MCR_RTS)))
		return false;
	return ((s->now.ier & IER_RX) && (s->now.mcr & MCR_OUT2)) || s->now.polling;
}

/* After every change that may let input through. True when chr must be told to go on. */
static bool let_input_in(struct serial16550 *s) REQUIRES(s->lock)
{
	bool resume;

	if (!listens(s))
		return false;
	while (s->now.ctrl_ds > 0 && fifo_room(s) > 0) {
		receive(s, CTRL_D);
		s->now.ctrl_ds--;
	}
	/* The guest empties the FIFO in one go, so asking for more before that would only wake main
	 * more often. */
	resume = s->refused && s->now.count == 0;
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
		s->now.last = buf[take - 1];
	s->refused = take < n;
	update_irq(s);
	mutex_unlock(&s->lock);
	return take;
}

static unsigned ctrl_ds_needed(const struct serial16550 *s)
{
	return s->now.last == '\n' || s->now.last == '\r' ? 1 : 2;
}

static void serial_eof(struct chr_rx *rx)
{
	struct serial16550 *s = container_of(rx, struct serial16550, rx);
	bool resume;

	mutex_lock(&s->lock);
	s->at_eof = true;
	s->now.ctrl_ds = ctrl_ds_needed(s);
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

	if (!(s->now.mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	lines |= s->now.mcr & MCR_RTS ? MSR_CTS : 0;
	lines |= s->now.mcr & MCR_DTR ? MSR_DSR : 0;
	lines |= s->now.mcr & MCR_OUT1 ? MSR_RI : 0;
	lines |= s->now.mcr & MCR_OUT2 ? MSR_DCD : 0;
	return lines;
}

static void write_mcr(struct serial16550 *s, uint8_t value)
{
	uint8_t old = s->now.msr, lines, changed;

	s->now.mcr = value & MCR_ALL;
	s->now.rts_used |= (value & (MCR_RTS | MCR_LOOP)) == MCR_RTS;
	lines = modem_lines(s);
	changed = (uint8_t)((old ^ lines) >> 4) & MSR_DELTAS;
	if (lines & MSR_RI)
		changed &= (uint8_t)~MSR_DELTA_RI;
	s->now.msr = lines | (old & MSR_DELTAS) | changed;
}

static void loop_back(struct serial16550 *s, uint8_t byte)
{
	if (fifo_room(s) > 0) {
		fifo_push(s, byte);
		return;
	}
	s->now.line_errors |= LSR_OVERRUN;
	device_count(&s->overruns, 1);
}

static void write_lcr(struct serial16550 *s, uint8_t value)
{
	bool begins = (value & ~s->now.lcr & LCR_BREAK) != 0;

	s->now.lcr = value;
	/* A break is not carried to the outside; looped back it is a zero byte with its mark. */
	if (begins && (s->now.mcr & MCR_LOOP)) {
		s->now.line_errors |= LSR_BREAK;
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
	s->now.fcr = value & FCR_ENABLE ? value & (uint8_t)~FCR_CLEAR_RX : 0;
	if (value & FCR_CLEAR_RX) {
		s->now.count = 0;
		s->now.breaks = 0;
		s->now.polling = false;
	}
}

static void write_ier(struct serial16550 *s, uint8_t value)
{
	/* Enabled while the transmitter is empty, which it always is, THRE is pending at once. */
	if (value & ~s->now.ier & IER_THRE)
		s->now.thre_pending = true;
	s->now.ier = value & IER_ALL;
}

static void write_thr(struct serial16550 *s, uint8_t value, struct afterwards *after)
{
	s->now.thre_pending = true;
	if (s->now.mcr & MCR_LOOP) {
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
		s->now.thre_pending = false;
	return s->now.fcr & FCR_ENABLE ? id | IIR_FIFO : id;
}

static uint8_t read_lsr(struct serial16550 *s)
{
	uint8_t lsr = LSR_TX_EMPTY | line_status(s) | (s->now.count > 0 ? LSR_DATA : 0);

	s->now.line_errors = 0;
	s->now.breaks &= (uint16_t)~slot_bit(s->now.head);
	if (s->now.count == 0 && ++s->now.polls >= POLLS_TO_LISTEN)
		s->now.polling = true;
	return lsr;
}

static uint8_t read_msr(struct serial16550 *s)
{
	uint8_t msr = s->now.msr;

	s->now.msr &= (uint8_t)~MSR_DELTAS;
	return msr;
}

static uint8_t read_register(struct serial16550 *s, uint64_t reg)
{
	bool dlab = s->now.lcr & LCR_DLAB;

	switch (reg) {
	case RBR_THR_DLL:
		return dlab ? s->now.dll : fifo_pop(s);
	case IER_DLM:
		return dlab ? s->now.dlm : s->now.ier;
	case IIR_FCR:
		return read_iir(s);
	case LCR:
		return s->now.lcr;
	case MCR:
		return s->now.mcr;
	case LSR:
		return read_lsr(s);
	case MSR:
		return read_msr(s);
	default:
		return s->now.scr;
	}
}

static void write_register(struct serial16550 *s, uint64_t reg, uint8_t value,
			   struct afterwards *after)
{
	bool dlab = s->now.lcr & LCR_DLAB;

	if (reg == RBR_THR_DLL && !dlab)
		write_thr(s, value, after);
	else if (reg == RBR_THR_DLL)
		s->now.dll = value;
	else if (reg == IER_DLM && !dlab)
		write_ier(s, value);
	else if (reg == IER_DLM)
		s->now.dlm = value;
	else if (reg == IIR_FCR)
		write_fcr(s, value);
	else if (reg == LCR)
		write_lcr(s, value);
	else if (reg == MCR)
		write_mcr(s, value);
	else if (reg == SCR)
		s->now.scr = value;
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
		s->now.polls = 0;
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
	s->now.polls = 0;
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
	s->now = (struct serial_state){.dll = DIVISOR_9600, .last = s->now.last};
	s->now.msr = modem_lines(s);
	s->now.ctrl_ds = s->at_eof ? ctrl_ds_needed(s) : 0;
	update_irq(s);
	mutex_unlock(&s->lock);
}

static void serial_free(struct device *dev)
{
	struct serial16550 *s = container_of(dev, struct serial16550, dev);

	chr_set_rx(s->chr, NULL);
	free(s);
}

/* ---- saved state ---- */

static void serial_save(struct device *dev, struct state_writer *w)
{
	struct serial16550 *s = container_of(dev, struct serial16550, dev);

	mutex_lock(&s->lock);
	serial_state_put(&s->now, w);
	mutex_unlock(&s->lock);
}

/*
 * The end of the input belongs to the stream, which is another one now. An interrupt that was
 * pending is raised once more: a driver finds out why by reading IIR.
 */
static void serial_load(struct device *dev, struct state_reader *r)
{
	struct serial16550 *s = container_of(dev, struct serial16550, dev);
	struct serial_state now;
	bool resume;

	if (!serial_state_get(r, &now))
		return;
	mutex_lock(&s->lock);
	s->now = now;
	s->now.msr = modem_lines(s) | (now.msr & MSR_DELTAS);
	if (s->at_eof)
		s->now.ctrl_ds = ctrl_ds_needed(s);
	resume = let_input_in(s);
	update_irq(s);
	mutex_unlock(&s->lock);
	if (resume)
		chr_rx_resume(s->chr);
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
	s->now.breaks |= slot_bit(s->now.head + s->now.count);
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
						     .save = serial_save,
						     .load = serial_load,
						     .state_type = "serial16550",
						     .state_version = SERIAL_STATE_VERSION,
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
	s->now.last = '\n'; /* no input at all ends no line */
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
