/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPU threads write registers, main waits for the deadline. Feeding only moves the deadline
 * further: main finds that out when its timer fires, and is not woken each time.
 */
#include "devices/i6300esb.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/endian.h"
#include "base/log.h"
#include "base/mutex.h"
#include "pci/function.h"
#include "state/state.h"

enum {
	VENDOR_INTEL = 0x8086,
	DEVICE_6300ESB_WDT = 0x25ab,
	CLASS_OTHER_PERIPHERAL = 0x088000,

	/* configuration space */
	CONFIG = 0x60, /* 16 bits */
	CONFIG_INT_TYPE = 0x03,
	CONFIG_INT_OFF = 0x03,
	CONFIG_FAST = 0x04, /* prescaler: about 1 us a tick, not 1 ms */
	CONFIG_NO_OUTPUT = 0x20,
	CONFIG_WRITABLE = CONFIG_INT_TYPE | CONFIG_FAST | CONFIG_NO_OUTPUT,
	LOCK = 0x68, /* 8 bits */
	LOCK_LOCKED = 0x01,
	LOCK_ENABLE = 0x02,
	LOCK_FREE_RUN = 0x04,
	LOCK_WRITABLE = LOCK_LOCKED | LOCK_ENABLE | LOCK_FREE_RUN,

	/* BAR 0 */
	BAR_SIZE = 4096,
	TIMER1 = 0x00,
	TIMER2 = 0x04,
	INT_STATUS = 0x08,
	RELOAD = 0x0c,
	INT_ACTIVE = 0x01,
	RELOAD_NOW = 0x100,
	RELOAD_TIMEOUT = 0x200,
	UNLOCK1 = 0x80,
	UNLOCK2 = 0x86,
	TIMER_MAX = 0xfffff,

	/* The PCI clock of 33 MHz is divided by these. */
	SLOW_CYCLES = 1 << 15,
	FAST_CYCLES = 1 << 5,
};

/* Whatever the guest sets: else it could keep main busy with nothing but its end. */
#define SHORTEST_STAGE_NS NS_PER_MS

/* How much of the sequence that comes before each write to a protected register was seen. */
enum unlock { UNLOCK_NONE, UNLOCK_HALF, UNLOCK_DONE };
enum stage { STAGE_STOPPED, STAGE_FIRST, STAGE_SECOND };

struct i6300esb {
	struct device dev;
	struct pci_function f;
	struct loop *loop;
	struct run_wire *run;
	enum watchdog_action action;
	struct loop_timer timer; /* main's */
	struct loop_work work;
	_Atomic uint64_t pings, first_stages, expirations;

	struct mutex lock; /* leaf; after the bus's */
	/* Under it: */
	uint32_t preload[2]; /* of the first and second stage */
	enum unlock unlock;
	uint16_t config;
	uint8_t lock_reg;
	bool int_active, timed_out;
	enum stage stage;
	uint64_t deadline_ns; /* of the stage; while it is frozen, how much is left */
	uint64_t armed_ns;    /* what main's timer waits for; 0: for nothing */
	bool frozen;
};

static struct i6300esb *esb_of(struct device *dev)
{
	return container_of(dev, struct i6300esb, dev);
}

/* ---- time ---- */

static uint64_t stage_ns(const struct i6300esb *e, enum stage stage) REQUIRES(e->lock)
{
	uint64_t ticks = (uint64_t)e->preload[stage - STAGE_FIRST] + 1;
	uint64_t cycles = ticks * (e->config & CONFIG_FAST ? FAST_CYCLES : SLOW_CYCLES);

	return MAX(cycles * 1000 / 33, SHORTEST_STAGE_NS);
}

static void begin_stage(struct i6300esb *e, enum stage stage) REQUIRES(e->lock)
{
	e->stage = stage;
	e->deadline_ns = stage_ns(e, stage);
	if (e->frozen)
		return;
	e->deadline_ns += clock_now_ns();
	if (!e->armed_ns || e->deadline_ns < e->armed_ns)
		loop_post(e->loop, &e->work);
}

static void stop(struct i6300esb *e) REQUIRES(e->lock)
{
	e->stage = STAGE_STOPPED;
	loop_post(e->loop, &e->work);
}

static void first_stage_is_over(struct i6300esb *e) REQUIRES(e->lock)
{
	device_count(&e->first_stages, 1);
	/* The bit only: drivers that wait for the interrupt itself are not known. */
	e->int_active |= (e->config & CONFIG_INT_TYPE) != CONFIG_INT_OFF;
	begin_stage(e, STAGE_SECOND);
}

/* True when something has to be done about it. */
static bool second_stage_is_over(struct i6300esb *e) REQUIRES(e->lock)
{
	bool output = !(e->config & CONFIG_NO_OUTPUT);

	device_count(&e->expirations, 1);
	e->timed_out |= output;
	if (e->lock_reg & LOCK_FREE_RUN)
		begin_stage(e, STAGE_FIRST);
	else
		e->stage = STAGE_STOPPED;
	return output;
}

static void arm(struct i6300esb *e, uint64_t now) REQUIRES(e->lock)
{
	loop_timer_cancel(e->loop, &e->timer);
	e->armed_ns = e->stage == STAGE_STOPPED || e->frozen ? 0 : e->deadline_ns;
	if (e->armed_ns)
		loop_timer_arm(e->loop, &e->timer, e->deadline_ns > now ? e->deadline_ns - now : 0);
}

/* Main: the deadline has come, or is another. */
static void look(struct i6300esb *e)
{
	bool fired = false;
	uint64_t now;

	mutex_lock(&e->lock);
	now = clock_now_ns();
	if (!e->frozen && e->stage != STAGE_STOPPED && now >= e->deadline_ns) {
		if (e->stage == STAGE_FIRST)
			first_stage_is_over(e);
		else
			fired = second_stage_is_over(e);
	}
	arm(e, now);
	mutex_unlock(&e->lock);
	if (fired)
		run_wire_request(e->run, GUEST_WATCHDOG, e->action);
}

static void on_timer(struct loop_timer *timer)
{
	look(container_of(timer, struct i6300esb, timer));
}

static void on_work(struct loop_work *work)
{
	look(container_of(work, struct i6300esb, work));
}

/* ---- configuration space ---- */

static void lock_register_written(struct i6300esb *e, uint8_t value) REQUIRES(e->lock)
{
	bool was_on = e->lock_reg & LOCK_ENABLE;

	e->lock_reg = value & LOCK_WRITABLE;
	if (!was_on && e->lock_reg & LOCK_ENABLE)
		begin_stage(e, STAGE_FIRST);
	else if (was_on && !(e->lock_reg & LOCK_ENABLE))
		stop(e);
}

/* Under the bus's lock. The whole of a locked register stays as it is until the next reset. */
static void config_written(struct pci_function *f, unsigned offset, unsigned size)
{
	struct i6300esb *e = container_of(f, struct i6300esb, f);

	(void)offset;
	(void)size;
	mutex_lock(&e->lock);
	e->config = get_le16(f->config + CONFIG);
	if (e->lock_reg & LOCK_LOCKED)
		f->config[LOCK] = e->lock_reg;
	else
		lock_register_written(e, f->config[LOCK]);
	mutex_unlock(&e->lock);
}

/* ---- registers in memory ---- */

static uint32_t read_register(const struct i6300esb *e, uint64_t offset) REQUIRES(e->lock)
{
	switch (offset) {
	case TIMER1:
		return e->preload[0];
	case TIMER2:
		return e->preload[1];
	case INT_STATUS:
		return e->int_active ? INT_ACTIVE : 0;
	case RELOAD:
		return e->timed_out ? RELOAD_TIMEOUT : 0;
	default:
		return 0;
	}
}

static uint64_t bar_read(struct pci_function *f, unsigned bar, uint64_t offset, unsigned size)
{
	struct i6300esb *e = container_of(f, struct i6300esb, f);
	uint64_t aligned = align_down(offset, 4);
	uint8_t bytes[12];

	(void)bar;
	mutex_lock(&e->lock);
	for (unsigned i = 0; i < 3; i++)
		put_le32(bytes + i * 4, read_register(e, aligned + i * 4));
	mutex_unlock(&e->lock);
	return get_le_n(bytes + (offset - aligned), size);
}

static void write_reload(struct i6300esb *e, uint32_t value) REQUIRES(e->lock)
{
	enum unlock before = e->unlock;

	e->unlock = UNLOCK_NONE;
	if (value == UNLOCK1) {
		e->unlock = UNLOCK_HALF;
		return;
	}
	if (value == UNLOCK2 && before == UNLOCK_HALF) {
		e->unlock = UNLOCK_DONE;
		return;
	}
	if (before != UNLOCK_DONE)
		return;
	if (value & RELOAD_TIMEOUT)
		e->timed_out = false;
	if (value & RELOAD_NOW) {
		device_count(&e->pings, 1);
		if (e->lock_reg & LOCK_ENABLE)
			begin_stage(e, STAGE_FIRST);
	}
}

static void write_register(struct i6300esb *e, uint64_t offset, unsigned size, uint32_t value)
	REQUIRES(e->lock)
{
	switch (offset) {
	case TIMER1:
	case TIMER2:
		if (e->unlock == UNLOCK_DONE && size == 4)
			e->preload[offset / 4] = value & TIMER_MAX;
		e->unlock = UNLOCK_NONE;
		break;
	case INT_STATUS:
		if (value & INT_ACTIVE)
			e->int_active = false;
		break;
	case RELOAD:
		write_reload(e, value);
		break;
	default:
		break;
	}
}

static void bar_write(struct pci_function *f, unsigned bar, uint64_t offset, unsigned size,
		      uint64_t value)
{
	struct i6300esb *e = container_of(f, struct i6300esb, f);

	(void)bar;
	mutex_lock(&e->lock);
	write_register(e, offset, MIN(size, 4u), (uint32_t)value);
	if (size == 8)
		write_register(e, offset + 4, 4, (uint32_t)(value >> 32));
	mutex_unlock(&e->lock);
}

/* ---- life ---- */

static void power_on(struct i6300esb *e) REQUIRES(e->lock)
{
	e->preload[0] = e->preload[1] = TIMER_MAX;
	e->unlock = UNLOCK_NONE;
	e->config = 0;
	e->lock_reg = 0;
	e->int_active = false;
	e->stage = STAGE_STOPPED;
}

static void esb_reset(struct device *dev)
{
	struct i6300esb *e = esb_of(dev);

	pci_function_reset(&e->f);
	mutex_lock(&e->lock);
	power_on(e);
	arm(e, 0);
	mutex_unlock(&e->lock);
}

static void freeze(struct i6300esb *e, bool frozen)
{
	uint64_t now;

	mutex_lock(&e->lock);
	now = clock_now_ns();
	if (frozen && !e->frozen)
		e->deadline_ns -= MIN(now, e->deadline_ns);
	else if (!frozen && e->frozen)
		e->deadline_ns += now;
	e->frozen = frozen;
	arm(e, now);
	mutex_unlock(&e->lock);
}

static int esb_quiesce(struct device *dev, uint64_t patience_ns, struct err *err)
{
	(void)patience_ns;
	(void)err;
	freeze(esb_of(dev), true);
	return 0;
}

static void esb_resume(struct device *dev)
{
	freeze(esb_of(dev), false);
}

static void esb_save(struct device *dev, struct state_writer *w)
{
	struct i6300esb *e = esb_of(dev);

	pci_function_save(&e->f, w);
	mutex_lock(&e->lock);
	state_put_u32(w, e->preload[0]);
	state_put_u32(w, e->preload[1]);
	state_put_u8(w, (uint8_t)e->unlock);
	state_put_bool(w, e->int_active);
	state_put_bool(w, e->timed_out);
	state_put_u8(w, (uint8_t)e->stage);
	state_put_u64(w, e->deadline_ns);
	mutex_unlock(&e->lock);
}

static unsigned get_state(struct state_reader *r, unsigned last)
{
	unsigned v = state_get_u8(r);

	if (v <= last)
		return v;
	state_fail(r, "the watchdog is in a state that there is not");
	return 0;
}

/* Frozen from here; esb_resume() lets it go on. */
static void esb_load(struct device *dev, struct state_reader *r)
{
	struct i6300esb *e = esb_of(dev);

	pci_function_load(&e->f, r);
	mutex_lock(&e->lock);
	e->config = get_le16(e->f.config + CONFIG);
	e->lock_reg = e->f.config[LOCK] & LOCK_WRITABLE;
	e->preload[0] = state_get_u32(r) & TIMER_MAX;
	e->preload[1] = state_get_u32(r) & TIMER_MAX;
	e->unlock = (enum unlock)get_state(r, UNLOCK_DONE);
	e->int_active = state_get_bool(r);
	e->timed_out = state_get_bool(r);
	e->stage = (enum stage)get_state(r, STAGE_SECOND);
	e->deadline_ns = state_get_u64(r);
	if (e->stage != STAGE_STOPPED && e->deadline_ns > TIMER_MAX * NS_PER_MS)
		state_fail(r, "the watchdog has more time than there can be");
	e->frozen = true;
	arm(e, 0);
	mutex_unlock(&e->lock);
}

static void esb_free(struct device *dev)
{
	struct i6300esb *e = esb_of(dev);

	loop_timer_cancel(e->loop, &e->timer);
	loop_work_cancel(e->loop, &e->work);
	free(e);
}

static const struct device_stat stats[] = {
	DEVICE_STAT(struct i6300esb, pings, "times that the guest fed the watchdog"),
	DEVICE_STAT(struct i6300esb, first_stages,
		    "times that the first of its two timers ran out"),
	DEVICE_STAT(struct i6300esb, expirations, "times that the second ran out, too"),
};

static const struct device_ops device_ops = {
	.reset = esb_reset,
	.free = esb_free,
	.quiesce = esb_quiesce,
	.resume = esb_resume,
	.save = esb_save,
	.load = esb_load,
	.state_type = "i6300esb",
	.state_version = 1,
	.help = "Intel 6300ESB watchdog",
	.stats = stats,
	.n_stats = ARRAY_SIZE(stats),
};

static void init_function(struct i6300esb *e, const struct i6300esb_setup *setup)
{
	static const struct pci_function_ops ops = {
		.config_written = config_written, .bar_read = bar_read, .bar_write = bar_write};
	static const struct pci_identity identity = {.vendor = VENDOR_INTEL,
						     .device = DEVICE_6300ESB_WDT,
						     .class_code = CLASS_OTHER_PERIPHERAL,
						     .subsystem_vendor = VENDOR_INTEL,
						     .subsystem = DEVICE_6300ESB_WDT};
	static const struct pci_bar bar = {.size = BAR_SIZE};

	pci_function_init(&e->f, &identity, &ops);
	pci_function_add_bar(&e->f, 0, &bar, pci_bus_place(setup->bus, BAR_SIZE));
	put_le16(e->f.writable + CONFIG, CONFIG_WRITABLE);
	e->f.writable[LOCK] = LOCK_WRITABLE;
}

int i6300esb_new(const struct i6300esb_setup *setup, struct device **ret)
{
	struct i6300esb *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->dev = (struct device){.ops = &device_ops, .id = setup->id};
	e->loop = setup->loop;
	e->run = setup->run;
	e->action = setup->action;
	e->timer.fired = on_timer;
	e->work.run = on_work;
	mutex_init(&e->lock);
	init_function(e, setup);
	mutex_lock(&e->lock);
	power_on(e);
	mutex_unlock(&e->lock);
	r = pci_bus_attach(setup->bus, setup->slot, &e->f);
	if (r < 0) {
		free(e);
		return r;
	}
	*ret = &e->dev;
	return 0;
}
