/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A saved state that somebody else made: as it is, and once more with its checksum put right, so
 * that the fuzzer gets behind it. Each section is read through, or loaded into the device of its
 * type, which is then used.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend/chr.h"
#include "base/assert.h"
#include "base/crc32.h"
#include "base/endian.h"
#include "bus/device.h"
#include "bus/io_bus.h"
#include "devices/acpi_pm.h"
#include "devices/rtc_cmos.h"
#include "devices/serial16550.h"
#include "state/state.h"
#include "tests/fakes/fakes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_DEVICES = 3 };

struct machine {
	struct io_bus pio;
	struct fake_irq com1, ged;
	struct fake_run run;
	struct chr *chr;
	struct device *devices[N_DEVICES];
};

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
	vmm_assert(acpi_pm_new(&m->pio, 0x600, &m->run.wire, &m->ged.line, &d[2]) == 0);
}

static void use(struct machine *m)
{
	static const uint16_t ports[] = {0x3fa, 0x3fd, 0x3f8, 0x3f8, 0x71, 0x604};
	uint8_t value;

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
		(void)io_bus_read(&m->pio, ports[i], 1, &value);
	vmm_assert(m->run.requests == 0);
}

/* What is saved now and loaded again is the same to the byte. */
static void check_round_trip(struct device *dev)
{
	struct state_writer *w = NULL, *again = NULL;
	struct state_reader *r = NULL;
	const void *bytes, *bytes_again;
	size_t len, len_again;

	vmm_assert(state_writer_new(&w) == 0 && state_writer_new(&again) == 0);
	state_begin(w, "d", "d", 1);
	dev->ops->save(dev, w);
	state_end(w);
	vmm_assert(state_finish(w, &bytes, &len) == 0);
	vmm_assert(state_reader_new(bytes, len, &r, NULL) == 0);
	vmm_assert(state_open(r, "d", "d", 1, NULL) == 0);
	dev->ops->load(dev, r);
	vmm_assert(state_close(r, NULL) == 0);
	state_begin(again, "d", "d", 1);
	dev->ops->save(dev, again);
	state_end(again);
	vmm_assert(state_finish(again, &bytes_again, &len_again) == 0);
	vmm_assert(len == len_again && memcmp(bytes, bytes_again, len) == 0);
	state_reader_free(r);
	state_writer_free(w);
	state_writer_free(again);
}

static struct device *device_of(struct machine *m, const char *type)
{
	for (int i = 0; i < N_DEVICES; i++)
		if (strcmp(type, m->devices[i]->ops->state_type) == 0)
			return m->devices[i];
	return NULL;
}

static void read_through(struct state_reader *r, const struct state_section *s)
{
	uint8_t bytes[7];

	for (size_t at = 0; at < s->len; at += sizeof(bytes) + 16) {
		(void)state_get_bool(r);
		(void)state_get_u8(r);
		(void)state_get_u16(r);
		(void)state_get_u32(r);
		(void)state_get_u64(r);
		state_get_bytes(r, bytes, sizeof(bytes));
	}
}

static void load(struct machine *m, const uint8_t *bytes, size_t len)
{
	struct state_reader *r = NULL;
	struct state_section s;
	struct err err = {0};

	if (state_reader_new(bytes, len, &r, &err) < 0) {
		vmm_assert(err.code < 0 && !r);
		return;
	}
	while (state_next(r, &s)) {
		struct device *dev = device_of(m, s.type);
		int version = dev ? 1 : INT32_MAX;

		vmm_assert(s.len < len && *s.name && *s.type);
		if (state_open(r, s.name, s.type, (uint32_t)version, NULL) < 0)
			continue;
		if (dev)
			dev->ops->load(dev, r);
		else
			read_through(r, &s);
		if (state_close(r, NULL) == 0 && dev)
			check_round_trip(dev);
		use(m);
	}
	(void)state_reader_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine m;
	uint8_t *sealed;

	build(&m);
	load(&m, data, size);
	sealed = size >= 4 ? malloc(size) : NULL;
	if (sealed) {
		memcpy(sealed, data, size);
		put_le32(sealed + size - 4, crc32_update(0, sealed, size - 4));
		load(&m, sealed, size);
	}
	free(sealed);
	for (int i = 0; i < N_DEVICES; i++)
		(void)device_free(m.devices[i]);
	(void)chr_free(m.chr);
	return 0;
}
