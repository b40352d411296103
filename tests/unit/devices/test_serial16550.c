/* SPDX-License-Identifier: Apache-2.0 */
#include "chr_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bus/device.h"
#include "bus/io_bus.h"
#include "devices/serial16550.h"
#include "tests/fakes/fakes.h"

enum {
	BASE = 0x3f8,
	RBR = 0,
	THR = 0,
	IER = 1,
	IIR = 2,
	FCR = 2,
	LCR = 3,
	MCR = 4,
	LSR = 5,
	MSR = 6,
	SCR = 7
};
enum { OUT2 = 0x08, RTS = 0x02, DTR = 0x01, LOOP = 0x10 };

static struct io_bus pio;
static struct fake_irq irq;
static struct chr *chr;
static struct device *dev;
static int user, screen; /* the far ends of standard input and output */

static struct {
	struct serial16550_tap tap;
	char text[64];
	size_t n;
} tap;

static void tapped(struct serial16550_tap *t, uint8_t byte)
{
	(void)t;
	if (tap.n < sizeof(tap.text))
		tap.text[tap.n++] = (char)byte;
}

static void set_up(void)
{
	world_set_up();
	fake_irq_init(&irq);
	user = world_pipe_as_stdin();
	screen = world_pipe_as_stdout();
	chr = world_open("stdio");
	tap.tap.byte = tapped;
	cr_assert_eq(serial16550_new(&pio, BASE, &irq.line, chr, &tap.tap, &dev), 0);
	cr_assert_eq(chr_start(chr, world_loop, NULL), 0);
}

static void tear_down(void)
{
	dev = device_free(dev);
	chr = chr_free(chr);
	close(user);
	close(screen);
	world_tear_down();
}

TestSuite(serial16550, .init = set_up, .fini = tear_down, .timeout = 60);

static uint8_t in(unsigned reg)
{
	uint8_t value;

	cr_assert(io_bus_read(&pio, BASE + reg, 1, &value));
	return value;
}

static void out(unsigned reg, unsigned value)
{
	uint8_t byte = (uint8_t)value;

	cr_assert(io_bus_write(&pio, BASE + reg, 1, &byte));
}

static void type(const char *text, size_t n)
{
	cr_assert_eq(write(user, text, n), (ssize_t)n);
}

static bool has_data(void *arg)
{
	uint8_t lsr = in(LSR);

	(void)arg;
	(void)in(SCR); /* no polling reader: the reads are not in a row */
	return lsr & 1;
}

static void wait_data(void)
{
	world_run_until(has_data, NULL);
}

static void settle(void)
{
	world_run_for(5 * NS_PER_MS);
}

/* As Linux does when a tty is opened. */
static void open_port(void)
{
	out(FCR, 0x01);
	out(FCR, 0x07);
	out(FCR, 0x00);
	(void)in(LSR);
	(void)in(RBR);
	(void)in(IIR);
	(void)in(MSR);
	out(LCR, 0x03);
	out(MCR, DTR | RTS | OUT2);
	out(IER, 0x05);
	out(FCR, 0x01);
	out(FCR, 0x81);
}

/* ---- probing ---- */

Test(serial16550, linux_autoconfig_finds_a_16550a)
{
	out(IER, 0);
	cr_assert_eq(in(IER)&0x0f, 0);
	out(IER, 0x0f);
	cr_assert_eq(in(IER)&0x0f, 0x0f);
	out(IER, 0);
	out(MCR, LOOP | 0x0a);
	cr_assert_eq(in(MSR)&0xf0, 0x90, "loopback carries OUT2 and RTS");
	out(MCR, 0);
	out(LCR, 0xbf);
	out(FCR, 0);
	out(LCR, 0);
	out(FCR, 1);
	cr_assert_eq(in(IIR) >> 6, 3, "a FIFO that works");
	/* Not one of its successors: no 64-byte FIFO, no extra enable bits. */
	out(FCR, 0x21);
	cr_assert_eq(in(IIR) >> 5, 6);
	out(LCR, 0x80);
	out(FCR, 0x21);
	cr_assert_eq(in(IIR) >> 5, 6);
	out(LCR, 0);
	out(IER, 0x40);
	cr_assert_eq(in(IER)&0x40, 0);
}

Test(serial16550, reset_values)
{
	cr_assert_eq(in(IER), 0);
	cr_assert_eq(in(IIR), 0x01);
	cr_assert_eq(in(LCR), 0);
	cr_assert_eq(in(MCR), 0);
	cr_assert_eq(in(LSR), 0x60);
	cr_assert_eq(in(MSR), 0xb0);
	out(LCR, 0x80);
	cr_assert_neq(in(RBR) | in(IER) << 8, 0,
		      "a divisor of 0 would crash Linux's early console");
}

Test(serial16550, divisor_latch_hides_data_and_enable_registers)
{
	out(IER, 0x05);
	out(LCR, 0x83);
	out(0, 0x34);
	out(1, 0x12);
	cr_assert_eq(in(0), 0x34);
	cr_assert_eq(in(1), 0x12);
	out(LCR, 0x03);
	cr_assert_eq(in(IER), 0x05);
	cr_assert_eq(tap.n, 0, "nothing was sent");
	out(SCR, 0xa5);
	cr_assert_eq(in(SCR), 0xa5);
	out(MCR, 0xff);
	cr_assert_eq(in(MCR), 0x1f);
}

/* ---- sending ---- */

Test(serial16550, sent_bytes_reach_the_stream_and_the_tap)
{
	char buf[16];

	for (const char *c = "hello\n"; *c; c++) {
		cr_assert_eq(in(LSR)&0x60, 0x60);
		out(THR, *c);
	}
	chr_flush(chr, 1000);
	cr_assert_eq(read(screen, buf, sizeof(buf)), 6);
	cr_assert_arr_eq(buf, "hello\n", 6);
	cr_assert_eq(tap.n, 6);
	cr_assert_arr_eq(tap.text, "hello\n", 6);
}

Test(serial16550, transmit_interrupt_comes_when_enabled_and_after_each_write)
{
	out(MCR, OUT2);
	out(IER, 0x02);
	cr_assert(irq.high);
	cr_assert_eq(in(IIR), 0x02);
	cr_assert_not(irq.high, "reading IIR takes it back");
	cr_assert_eq(in(IIR), 0x01);
	out(THR, 'x');
	cr_assert(irq.high);
	out(THR, 'y');
	cr_assert_eq(in(IIR), 0x02);
	cr_assert_not(irq.high);
	/* Enabled already: the same value again raises nothing; off and on again does. */
	out(IER, 0x02);
	cr_assert_not(irq.high);
	out(IER, 0x00);
	out(IER, 0x02);
	cr_assert(irq.high);
	out(IER, 0x00);
	cr_assert_not(irq.high);
	cr_assert_eq(irq.rises, 3);
}

Test(serial16550, interrupt_reaches_the_line_only_through_out2)
{
	out(IER, 0x02);
	cr_assert_not(irq.high);
	cr_assert_eq(irq.sets, 0);
	out(MCR, OUT2);
	cr_assert(irq.high);
	out(MCR, OUT2 | LOOP);
	cr_assert_not(irq.high, "in loopback the pin is inactive");
	out(MCR, 0);
	cr_assert_not(irq.high);
}

Test(serial16550, byte_without_transmit_interrupt_touches_no_line)
{
	out(MCR, OUT2);
	for (int i = 0; i < 100; i++) {
		(void)in(LSR);
		out(THR, 'x');
	}
	cr_assert_eq(irq.sets, 0);
}

/* ---- receiving ---- */

Test(serial16550, received_bytes_interrupt_and_come_in_order)
{
	open_port();
	type("abc", 3);
	wait_data();
	cr_assert(irq.high);
	cr_assert_eq(in(IIR), 0xcc, "below the trigger level: timeout");
	for (const char *c = "abc"; *c; c++) {
		cr_assert_eq(in(LSR)&1, 1);
		cr_assert_eq(in(RBR), *c);
	}
	cr_assert_eq(in(LSR), 0x60);
	cr_assert_not(irq.high);
	cr_assert_eq(in(IIR), 0xc1);
	cr_assert_eq(in(RBR), 0);
}

Test(serial16550, trigger_level_decides_between_data_and_timeout)
{
	static const unsigned levels[] = {1, 4, 8, 14};

	for (unsigned i = 0; i < 4; i++) {
		open_port();
		out(FCR, i << 6 | 0x01);
		type("0123456789abcdef", 16);
		wait_data();
		for (unsigned left = 16; left > 0; left--) {
			cr_assert_eq(in(IIR)&0x0f, left >= levels[i] ? 0x04 : 0x0c, "%u left of %u",
				     left, levels[i]);
			(void)in(RBR);
		}
	}
}

Test(serial16550, takes_no_more_than_the_fifo_holds_and_loses_nothing)
{
	char text[1000], got[1000];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	open_port();
	type(text, sizeof(text));
	while (n < sizeof(text)) {
		unsigned burst = 0;

		wait_data();
		while (in(LSR)&1) {
			got[n++] = (char)in(RBR);
			burst++;
		}
		cr_assert_leq(burst, 16);
		cr_assert_eq(in(LSR)&0x02, 0, "no overrun");
	}
	cr_assert_arr_eq(got, text, sizeof(text));
}

Test(serial16550, without_fifo_one_byte_at_a_time)
{
	open_port();
	out(FCR, 0);
	type("ab", 2);
	wait_data();
	cr_assert_eq(in(IIR), 0x04);
	cr_assert_eq(in(RBR), 'a');
	cr_assert_eq(in(LSR)&1, 0);
	wait_data();
	cr_assert_eq(in(RBR), 'b');
}

Test(serial16550, input_before_the_driver_is_ready_is_kept)
{
	type("early\n", 6);
	settle();
	cr_assert_eq(in(LSR)&1, 0);
	open_port();
	for (const char *c = "early\n"; *c; c++) {
		wait_data();
		cr_assert_eq(in(RBR), *c);
	}
}

Test(serial16550, byte_that_comes_between_enable_and_fifo_is_kept)
{
	out(MCR, DTR | RTS | OUT2);
	out(IER, 0x05);
	type("xyz", 3);
	wait_data();
	out(FCR, 0x01);
	out(FCR, 0x81);
	for (const char *c = "xyz"; *c; c++) {
		wait_data();
		cr_assert_eq(in(RBR), *c);
	}
}

Test(serial16550, polling_reader_is_served)
{
	unsigned reads = 0;

	type("k", 1);
	settle();
	while (!(in(LSR)&1)) {
		cr_assert_lt(reads++, 100000);
		world_run_for(10 * NS_PER_US);
	}
	cr_assert_geq(reads, 15);
	cr_assert_eq(in(RBR), 'k');
	type("l", 1);
	wait_data();
	cr_assert_eq(in(RBR), 'l');
}

Test(serial16550, polled_output_does_not_count_as_listening)
{
	type("k", 1);
	for (int i = 0; i < 200; i++) {
		(void)in(LSR);
		(void)in(LSR);
		out(THR, 'x');
	}
	settle();
	cr_assert_eq(in(LSR)&1, 0);
}

Test(serial16550, dropped_rts_holds_the_input)
{
	open_port();
	out(MCR, DTR | OUT2);
	type("a", 1);
	settle();
	cr_assert_eq(in(LSR)&1, 0);
	out(MCR, DTR | RTS | OUT2);
	wait_data();
	cr_assert_eq(in(RBR), 'a');
}

Test(serial16550, guest_that_never_uses_rts_gets_its_input)
{
	out(MCR, OUT2);
	out(IER, 0x01);
	type("a", 1);
	wait_data();
	cr_assert(irq.high);
	cr_assert_eq(in(RBR), 'a');
}

Test(serial16550, fifo_clear_drops_what_is_in_it)
{
	open_port();
	type("abc", 3);
	wait_data();
	out(FCR, 0x03);
	cr_assert_eq(in(LSR)&1, 0);
	cr_assert_not(irq.high);
}

/* ---- end of input ---- */

static void expect(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		wait_data();
		cr_assert_eq(in(RBR), text[i], "byte %zu", i);
	}
	settle();
	cr_assert_eq(in(LSR)&1, 0, "and nothing more");
}

Test(serial16550, end_of_input_is_one_ctrl_d_after_a_whole_line)
{
	open_port();
	type("a line\n", 7);
	close(user);
	expect("a line\n\x04", 8);
}

Test(serial16550, end_of_input_after_half_a_line_takes_two)
{
	open_port();
	type("half", 4);
	close(user);
	expect("half\x04\x04", 6);
}

Test(serial16550, end_waits_until_the_guest_listens)
{
	close(user);
	settle();
	cr_assert_eq(in(LSR)&1, 0);
	open_port();
	expect("\x04", 1);
}

Test(serial16550, probe_of_the_enable_bits_takes_no_input)
{
	type("kept\n", 5);
	out(IER, 0x0f);
	settle();
	cr_assert_eq(in(LSR)&1, 0);
	out(IER, 0);
	open_port();
	close(user);
	expect("kept\n\x04", 6);
}

Test(serial16550, end_comes_after_a_full_fifo)
{
	open_port();
	type("0123456789abcde\n", 16);
	close(user);
	settle();
	expect("0123456789abcde\n\x04", 17);
}

Test(serial16550, next_guest_after_a_reset_is_told_of_the_end_again)
{
	open_port();
	close(user);
	expect("\x04", 1);
	dev->ops->reset(dev);
	cr_assert_eq(in(LSR)&1, 0);
	open_port();
	expect("\x04", 1);
}

/* ---- loopback and modem lines ---- */

Test(serial16550, loopback_gives_back_what_is_sent_and_sends_nothing)
{
	out(FCR, 0x01);
	out(MCR, LOOP);
	out(THR, 'q');
	cr_assert_eq(in(LSR)&1, 1);
	cr_assert_eq(in(RBR), 'q');
	cr_assert_eq(tap.n, 0);
	for (int i = 0; i < 17; i++)
		out(THR, 'a' + i);
	cr_assert_eq(in(LSR)&0x02, 0x02, "overrun");
	cr_assert_eq(in(LSR)&0x02, 0, "reading clears it");
	for (int i = 0; i < 16; i++)
		cr_assert_eq(in(RBR), 'a' + i);
}

Test(serial16550, host_input_stays_out_of_a_loopback_test)
{
	open_port();
	out(MCR, LOOP | RTS);
	type("z", 1);
	settle();
	cr_assert_eq(in(LSR)&1, 0);
	out(MCR, DTR | RTS | OUT2);
	wait_data();
	cr_assert_eq(in(RBR), 'z');
}

Test(serial16550, break_in_loopback_is_seen_as_break)
{
	out(FCR, 0x01);
	out(MCR, LOOP);
	out(IER, 0x04);
	out(LCR, 0x43);
	cr_assert_eq(in(IIR), 0xc6);
	cr_assert_eq(in(LSR)&0x11, 0x11);
	cr_assert_eq(in(IIR), 0xc1);
	cr_assert_eq(in(RBR), 0);
	out(LCR, 0x43);
	cr_assert_eq(in(LSR)&0x11, 0, "it begins once");
}

Test(serial16550, modem_status_deltas_interrupt_and_clear)
{
	(void)in(MSR);
	out(IER, 0x08);
	out(MCR, LOOP);
	cr_assert_eq(in(IIR), 0x00, "lines dropped");
	cr_assert_eq(in(MSR), 0x0b);
	cr_assert_eq(in(IIR), 0x01);
	out(MCR, LOOP | 0x04);
	cr_assert_eq(in(MSR), 0x40, "ring: its leading edge is no change");
	out(MCR, LOOP);
	cr_assert_eq(in(MSR), 0x04, "its trailing edge is");
}

Test(serial16550, interrupts_have_their_order)
{
	out(FCR, 0x01);
	out(MCR, LOOP);
	(void)in(MSR);
	out(IER, 0x0f);
	for (int i = 0; i < 17; i++)
		out(THR, 'x');
	out(MCR, LOOP | RTS);
	cr_assert_eq(in(IIR), 0xc6);
	(void)in(LSR);
	cr_assert_eq(in(IIR), 0xc4);
	out(FCR, 0x03);
	cr_assert_eq(in(IIR), 0xc2);
	cr_assert_eq(in(IIR), 0xc0);
	(void)in(MSR);
	cr_assert_eq(in(IIR), 0xc1);
}

/* ---- device ---- */

Test(serial16550, reset_lowers_the_line_and_empties_the_fifo)
{
	open_port();
	type("abc", 3);
	wait_data();
	cr_assert(irq.high);
	dev->ops->reset(dev);
	cr_assert_not(irq.high);
	cr_assert_eq(in(LSR), 0x60);
	cr_assert_eq(in(IER), 0);
	cr_assert_eq(in(IIR), 0x01);
}

/* The guest's side on a thread of its own while input flows on this one. */
static char echo[20000];

static void *guest(void *arg)
{
	size_t n = 0;

	(void)arg;
	open_port();
	while (n < sizeof(echo)) {
		if (!atomic_load(&irq.high))
			continue;
		/* An interrupt handler that runs until nothing is pending, as edge-triggered lines
		 * need. */
		while (!(in(IIR)&1))
			while (in(LSR)&1)
				echo[n++] = (char)in(RBR);
	}
	return NULL;
}

static atomic_bool guest_done;

static void *run_guest(void *arg)
{
	guest(arg);
	atomic_store(&guest_done, true);
	return NULL;
}

static bool is_done(void *arg)
{
	(void)arg;
	return atomic_load(&guest_done);
}

Test(serial16550, interrupt_driven_guest_on_another_thread_gets_every_byte)
{
	char *text = malloc(sizeof(echo));
	pthread_t thread;

	cr_assert_not_null(text);
	for (size_t i = 0; i < sizeof(echo); i++)
		text[i] = (char)(i * 31 + i / 256);
	type(text, sizeof(echo));
	cr_assert_eq(pthread_create(&thread, NULL, run_guest, NULL), 0);
	world_run_until(is_done, NULL);
	pthread_join(thread, NULL);
	cr_assert_arr_eq(echo, text, sizeof(echo));
	free(text);
}

/* ---- what the user sees and does ---- */

static uint64_t stat(const char *name)
{
	for (unsigned i = 0; i < dev->ops->n_stats; i++)
		if (strcmp(dev->ops->stats[i].name, name) == 0)
			return device_stat_value(dev, &dev->ops->stats[i]);
	cr_assert_fail("no %s", name);
	return 0;
}

static int verb(const char *name, const char *text, size_t len, struct err *err)
{
	struct device_value value = {.given = true, .text = text, .len = len};

	*err = (struct err){0};
	for (unsigned i = 0; i < dev->ops->n_verbs; i++)
		if (strcmp(dev->ops->verbs[i].name, name) == 0)
			return dev->ops->verbs[i].run(dev, &value, err);
	cr_assert_fail("no %s", name);
	return 0;
}

enum { BREAK_MARK = 0x10, LINE_STATUS = 0x06, RECEIVE_AND_LINE_STATUS = 0x05 };

Test(serial16550, counters_of_bytes_interrupts_and_overruns)
{
	open_port();
	type("abc", 3);
	wait_data();
	settle();
	out(THR, 'x');
	out(THR, 'y');
	cr_assert_eq(stat("rx_bytes"), 3);
	cr_assert_eq(stat("tx_bytes"), 2);
	cr_assert_eq(stat("interrupts"), irq.rises);
	cr_assert_geq(irq.rises, 1);
	cr_assert_eq(stat("overruns"), 0);
	out(MCR, LOOP);
	for (int i = 0; i < 16; i++)
		out(THR, 'l');
	cr_assert_eq(stat("overruns"), 3, "three bytes were there");
	cr_assert_eq(stat("tx_bytes"), 2, "what is looped back goes nowhere");
	cr_assert_eq(stat("rx_bytes"), 3);
}

Test(serial16550, break_is_a_zero_byte_with_its_mark_and_a_line_status_interrupt)
{
	struct err err;

	open_port();
	out(IER, RECEIVE_AND_LINE_STATUS);
	cr_assert_eq(verb("break", "", 0, &err), 0, "%s", err.msg);
	cr_assert(irq.high);
	cr_assert_eq(in(IIR)&0x0f, LINE_STATUS);
	cr_assert_eq(in(LSR)&0x1f, BREAK_MARK | 1);
	cr_assert_eq(in(LSR)&0x1f, 1, "reading takes the mark");
	cr_assert_eq(in(RBR), 0);
	cr_assert_not(irq.high);
	cr_assert_eq(stat("rx_bytes"), 1);
}

Test(serial16550, break_keeps_its_place_behind_earlier_bytes)
{
	struct err err;

	open_port();
	type("ab", 2);
	wait_data();
	settle();
	cr_assert_eq(verb("break", "", 0, &err), 0, "%s", err.msg);
	type("h", 1);
	settle();
	for (const char *c = "ab"; *c; c++) {
		cr_assert_eq(in(LSR)&0x1f, 1, "not the mark of this one");
		cr_assert_eq(in(RBR), *c);
	}
	cr_assert_eq(in(LSR)&0x1f, BREAK_MARK | 1);
	cr_assert_eq(in(RBR), 0);
	cr_assert_eq(in(LSR)&0x1f, 1);
	cr_assert_eq(in(RBR), 'h');
}

Test(serial16550, mark_of_a_break_that_was_read_unseen_is_gone)
{
	struct err err;

	open_port();
	cr_assert_eq(verb("break", "", 0, &err), 0);
	(void)in(RBR);
	type("h", 1);
	wait_data();
	cr_assert_eq(in(LSR)&0x1f, 1);
	for (int i = 0; i < 16; i++) { /* the slot is used again */
		type("x", 1);
		settle();
		(void)in(RBR);
		cr_assert_eq(in(LSR)&BREAK_MARK, 0);
	}
}

Test(serial16550, break_is_refused_where_it_would_be_lost)
{
	struct err err;

	cr_assert_eq(verb("break", "", 0, &err), -EBUSY);
	cr_assert_not_null(strstr(err.msg, "does not listen"), "%s", err.msg);
	open_port();
	type("0123456789abcdef", 16);
	wait_data();
	settle();
	cr_assert_eq(verb("break", "", 0, &err), -EBUSY);
	cr_assert_not_null(strstr(err.msg, "has not read"), "%s", err.msg);
	(void)in(RBR);
	cr_assert_eq(verb("break", "", 0, &err), 0);
	dev->ops->reset(dev);
	open_port();
	cr_assert_eq(in(LSR)&0x1f, 0, "a reset forgets it");
}

Test(serial16550, send_types_the_text_once_the_guest_listens)
{
	char text[100];
	struct err err;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	cr_assert_eq(verb("send", text, sizeof(text), &err), 0, "%s", err.msg);
	settle();
	cr_assert_eq(in(LSR)&1, 0);
	open_port();
	for (size_t i = 0; i < sizeof(text); i++) {
		wait_data();
		cr_assert_eq(in(RBR), text[i], "byte %zu", i);
	}
	cr_assert_eq(stat("rx_bytes"), sizeof(text));
}

Test(serial16550, send_is_all_or_nothing)
{
	static char text[4096];
	struct err err;
	unsigned sent = 0;

	memset(text, 'x', sizeof(text));
	while (verb("send", text, sizeof(text), &err) == 0)
		cr_assert_lt(++sent, 1000, "the buffer has a bound");
	cr_assert_eq(err.code, -EBUSY);
	cr_assert_not_null(strstr(err.msg, "nothing was sent"), "%s", err.msg);
	open_port();
	for (size_t i = 0; i < sent * sizeof(text); i++) {
		wait_data();
		cr_assert_eq(in(RBR), 'x');
		if (i == 2 * sizeof(text))
			cr_assert_eq(verb("send", text, sizeof(text), &err), 0, "room again");
	}
	for (size_t i = 0; i < sizeof(text); i++) {
		wait_data();
		(void)in(RBR);
	}
	settle();
	cr_assert_eq(in(LSR)&1, 0, "and nothing of what was refused");
}

/* The end of standard input is told while what was typed still waits: both must arrive. */
Test(serial16550, typed_text_goes_on_behind_the_end_of_the_input)
{
	char text[40];
	unsigned seen = 0, ctrl_ds = 0;
	struct err err;

	memset(text, 't', sizeof(text));
	cr_assert_eq(verb("send", text, sizeof(text), &err), 0);
	close(user);
	user = open("/dev/null", O_RDONLY | O_CLOEXEC);
	settle();
	open_port();
	while (seen < sizeof(text) || ctrl_ds < 1) {
		uint8_t c;

		wait_data();
		c = in(RBR);
		seen += c == 't';
		ctrl_ds += c == 0x04;
	}
	cr_assert_eq(seen, sizeof(text));
}
