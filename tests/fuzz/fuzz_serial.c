/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All legacy devices on one bus, driven by bytes: what a guest can do to them. Each access takes an
 * opcode byte (read or write, size), two bytes of port and, for a write, its data.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "backend/chr.h"
#include "base/assert.h"
#include "base/checked.h"
#include "bus/device.h"
#include "bus/io_bus.h"
#include "devices/acpi_pm.h"
#include "devices/debugcon.h"
#include "devices/exit_port.h"
#include "devices/i8042.h"
#include "devices/pvpanic.h"
#include "devices/rtc_cmos.h"
#include "devices/serial16550.h"
#include "tests/fakes/fakes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_DEVICES = 7 };

struct machine {
	struct io_bus pio;
	struct fake_irq com1, ged;
	struct fake_run run;
	struct chr *chr;
	struct device *devices[N_DEVICES];
};

/* Where something lives; other ports are tried through the low bits of the input's port. */
static const uint16_t bases[] = {0x3f8, 0x70, 0x60, 0x64, 0x505, 0xe9, 0xf4, 0x600};

static void build(struct machine *m)
{
	struct chr_spec none = {.kind = CHR_NONE};
	struct device **d = m->devices;

	memset(m, 0, sizeof(*m));
	fake_irq_init(&m->com1);
	fake_irq_init(&m->ged);
	fake_run_init(&m->run);
	vmm_assert(chr_open(&none, "fuzz", &m->chr, NULL) == 0);
	vmm_assert(serial16550_new(&m->pio, 0x3f8, &m->com1.line, m->chr, NULL, &d[0]) == 0);
	vmm_assert(rtc_cmos_new(&m->pio, NULL, &d[1]) == 0);
	vmm_assert(i8042_new(&m->pio, &m->run.wire, &d[2]) == 0);
	vmm_assert(pvpanic_new(&m->pio, 0x505, &m->run.wire, &d[3]) == 0);
	vmm_assert(debugcon_new(&m->pio, 0xe9, m->chr, &d[4]) == 0);
	vmm_assert(exit_port_new(&m->pio, 0xf4, &m->run.wire, &d[5]) == 0);
	vmm_assert(acpi_pm_new(&m->pio, 0x600, &m->run.wire, &m->ged.line, &d[6]) == 0);
}

static void tear_down(struct machine *m)
{
	for (int i = 0; i < N_DEVICES; i++)
		(void)device_free(m->devices[i]);
	(void)chr_free(m->chr);
}

/* Returns how many bytes of the input it used. */
static size_t step(struct machine *m, const uint8_t *data, size_t size)
{
	unsigned width = (data[0] & 7U) + 1;
	uint64_t port = bases[data[1] % ARRAY_SIZE(bases)] + (data[2] & 0x0fU), value = 0;

	if (data[0] == 0xff) {
		for (int i = 0; i < N_DEVICES; i++)
			m->devices[i]->ops->reset(m->devices[i]);
		vmm_assert(!m->com1.high);
		return 3;
	}
	if (data[0] == 0xfe) {
		acpi_pm_press_power_button(m->devices[6]);
		return 3;
	}
	if (data[0] & 8) {
		memcpy(&value, data + 3, MIN((size_t)width, size - 3));
		(void)io_bus_write(&m->pio, port, width, &value);
		return 3 + width;
	}
	if (!io_bus_read(&m->pio, port, width, &value))
		vmm_assert((value & 0xff) == 0xff);
	return 3;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine m;

	build(&m);
	for (size_t at = 0; size - at >= 3;) {
		size_t used = step(&m, data + at, size - at);

		at += MIN(used, size - at);
	}
	tear_down(&m);
	return 0;
}
