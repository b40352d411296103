/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMBIOS 3.0 (DSP0134): the smallest set that the specification requires (section 6.2), so that a
 * guest can tell what it runs on and how much memory there is.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "boot/x86/acpi_abi.h"
#include "boot/x86/layout.h"
#include "boot/x86/tables.h"

/* 5.2.2 */
struct smbios3_entry {
	char anchor[5]; /* "_SM3_" */
	uint8_t checksum;
	uint8_t length;
	uint8_t major, minor, docrev;
	uint8_t entry_revision;
	uint8_t reserved;
	le32_t max_size;
	le64_t table;
} ABI_PACKED;
static_assert(sizeof(struct smbios3_entry) == 0x18, "DSP0134 3.0, 5.2.2");

struct smbios_header {
	uint8_t type, length;
	le16_t handle;
} ABI_PACKED;

/* 7.1 to 7.46, each as long as version 3.0 has it. Numbers of strings count from 1; 0: none. */
struct smbios_bios {
	struct smbios_header h;
	uint8_t vendor, version;
	le16_t segment;
	uint8_t date, rom_size;
	le64_t characteristics;
	uint8_t extension[2];
	uint8_t release[2], controller_release[2];
} ABI_PACKED;
static_assert(sizeof(struct smbios_bios) == 0x18, "DSP0134 3.0, 7.1");
enum { BIOS_CHARACTERISTICS_UNKNOWN = 1 << 3, BIOS_EXT2_VIRTUAL_MACHINE = 1 << 4 };

struct smbios_system {
	struct smbios_header h;
	uint8_t manufacturer, product, version, serial;
	uint8_t uuid[16]; /* all 0: not present */
	uint8_t wake_up, sku, family;
} ABI_PACKED;
static_assert(sizeof(struct smbios_system) == 0x1b, "DSP0134 3.0, 7.2");
enum { WAKE_UP_POWER_SWITCH = 6 };

struct smbios_chassis {
	struct smbios_header h;
	uint8_t manufacturer, type, version, serial, asset;
	uint8_t boot_state, power_state, thermal_state, security;
	le32_t oem;
	uint8_t height, cords, n_elements, element_length, sku;
} ABI_PACKED;
static_assert(sizeof(struct smbios_chassis) == 0x16, "DSP0134 3.0, 7.4");
enum { CHASSIS_OTHER = 1, STATE_UNKNOWN = 2, STATE_SAFE = 3 };

struct smbios_processor {
	struct smbios_header h;
	uint8_t socket, type, family, manufacturer;
	le64_t id;
	uint8_t version, voltage;
	le16_t clock, max_speed, speed;
	uint8_t status, upgrade;
	le16_t l1, l2, l3;
	uint8_t serial, asset, part;
	uint8_t cores, enabled, threads;
	le16_t characteristics, family2, cores2, enabled2, threads2;
} ABI_PACKED;
static_assert(sizeof(struct smbios_processor) == 0x30, "DSP0134 3.0, 7.5");
enum {
	PROCESSOR_CENTRAL = 3,
	PROCESSOR_FAMILY_OTHER = 1,
	PROCESSOR_UPGRADE_OTHER = 1,
	PROCESSOR_POPULATED_ENABLED = 0x41,
	PROCESSOR_64BIT = 1 << 2,
	NO_CACHE = 0xffff,
};

struct smbios_memory_array {
	struct smbios_header h;
	uint8_t location, use, error_correction;
	le32_t capacity_kib; /* 0x80000000: see the next but two */
	le16_t error_handle, n_devices;
	le64_t capacity_bytes;
} ABI_PACKED;
static_assert(sizeof(struct smbios_memory_array) == 0x17, "DSP0134 3.0, 7.17");
enum { ARRAY_OTHER = 1, ARRAY_SYSTEM = 3, ECC_NONE = 3, NO_ERROR_HANDLE = 0xfffe };

struct smbios_memory_device {
	struct smbios_header h;
	le16_t array, error_handle, total_width, data_width;
	le16_t size_mib; /* 0x7fff: see extended_size_mib */
	uint8_t form_factor, set, locator, bank;
	uint8_t type;
	le16_t detail, speed;
	uint8_t manufacturer, serial, asset, part, attributes;
	le32_t extended_size_mib;
	le16_t configured_speed, min_voltage, max_voltage, voltage;
} ABI_PACKED;
static_assert(sizeof(struct smbios_memory_device) == 0x28, "DSP0134 3.0, 7.18");
enum { FORM_DIMM = 9, MEMORY_RAM = 7, DETAIL_OTHER = 1 << 1, WIDTH_UNKNOWN = 0xffff };

struct smbios_mapped_address {
	struct smbios_header h;
	le32_t first_kib, last_kib; /* both 0xffffffff: see the 64-bit ones, in bytes */
	le16_t array;
	uint8_t width;
	le64_t first, last;
} ABI_PACKED;
static_assert(sizeof(struct smbios_mapped_address) == 0x1f, "DSP0134 3.0, 7.20");

struct smbios_boot_info {
	struct smbios_header h;
	uint8_t reserved[6];
	uint8_t status; /* 0: no error */
} ABI_PACKED;
static_assert(sizeof(struct smbios_boot_info) == 0x0b, "DSP0134 3.0, 7.33");

enum {
	HANDLE_CHASSIS = 0x300,
	HANDLE_PROCESSOR = 0x400,
	HANDLE_ARRAY = 0x1000,
	HANDLE_DEVICE = 0x1100,
	HANDLE_ADDRESS = 0x1300,
};

struct writer {
	uint8_t *at, *end;
	bool failed;
};

/* A structure and its strings, each ended by 0, the set ended by another; two if there are none
 * (6.1.3). */
static void put(struct writer *w, void *structure, size_t len, uint8_t type, unsigned handle,
		const char *strings, size_t strings_len)
{
	struct smbios_header *h = structure;
	size_t tail = strings_len ? strings_len : 1;

	if (w->failed || len + tail + 1 > (size_t)(w->end - w->at)) {
		w->failed = true;
		return;
	}
	h->type = type;
	h->length = (uint8_t)len;
	h->handle = le16_make((uint16_t)handle);
	memcpy(w->at, structure, len);
	memset(w->at + len, 0, tail + 1);
	if (strings_len)
		memcpy(w->at + len, strings, strings_len);
	w->at += len + tail + 1;
}

#define PUT(w, s, type, handle, strings)                                                           \
	put(w, s, sizeof(*(s)), type, handle, strings, sizeof(strings) - 1)

static void put_bios(struct writer *w)
{
	struct smbios_bios s = {
		.vendor = 1,
		.version = 2,
		.date = 3,
		.characteristics = le64_make(BIOS_CHARACTERISTICS_UNKNOWN),
		.extension = {0, BIOS_EXT2_VIRTUAL_MACHINE},
		.release = {0xff, 0xff}, /* not told */
		.controller_release = {0xff, 0xff},
	};

	PUT(w, &s, 0, 0, "vmm\0001\00001/01/2026\0");
}

static void put_system(struct writer *w)
{
	struct smbios_system s = {
		.manufacturer = 1, .product = 1, .version = 2, .wake_up = WAKE_UP_POWER_SWITCH};

	PUT(w, &s, 1, 0x100, "vmm\0001\0");
}

static void put_chassis(struct writer *w)
{
	struct smbios_chassis s = {
		.manufacturer = 1,
		.type = CHASSIS_OTHER,
		.boot_state = STATE_SAFE,
		.power_state = STATE_SAFE,
		.thermal_state = STATE_SAFE,
		.security = STATE_UNKNOWN,
	};

	PUT(w, &s, 3, HANDLE_CHASSIS, "vmm\0");
}

static void put_processor(struct writer *w, unsigned n_cpus)
{
	uint8_t small = (uint8_t)MIN(n_cpus, 0xffU); /* 0xff: see the 16-bit ones */
	le16_t cpus = le16_make((uint16_t)MIN(n_cpus, 0xfffeU));
	struct smbios_processor s = {
		.socket = 1,
		.type = PROCESSOR_CENTRAL,
		.family = PROCESSOR_FAMILY_OTHER,
		.manufacturer = 2,
		.version = 2,
		.status = PROCESSOR_POPULATED_ENABLED,
		.upgrade = PROCESSOR_UPGRADE_OTHER,
		.l1 = le16_make(NO_CACHE),
		.l2 = le16_make(NO_CACHE),
		.l3 = le16_make(NO_CACHE),
		.cores = small,
		.enabled = small,
		.threads = small,
		.characteristics = le16_make(PROCESSOR_64BIT),
		.family2 = le16_make(PROCESSOR_FAMILY_OTHER),
		.cores2 = cpus,
		.enabled2 = cpus,
		.threads2 = cpus,
	};

	PUT(w, &s, 4, HANDLE_PROCESSOR, "CPU 0\0vmm\0");
}

static uint64_t total_ram(const struct mm_map *ram)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < ram->n; i++)
		sum += ram->regions[i].size;
	return sum;
}

static void put_memory(struct writer *w, uint64_t bytes)
{
	uint64_t mib = bytes / MIB(1);
	bool big = mib >= 0x7fff;
	struct smbios_memory_array array = {
		.location = ARRAY_OTHER,
		.use = ARRAY_SYSTEM,
		.error_correction = ECC_NONE,
		.capacity_kib = le32_make(UINT32_C(0x80000000)),
		.error_handle = le16_make(NO_ERROR_HANDLE),
		.n_devices = le16_make(1),
		.capacity_bytes = le64_make(bytes),
	};
	struct smbios_memory_device device = {
		.array = le16_make(HANDLE_ARRAY),
		.error_handle = le16_make(NO_ERROR_HANDLE),
		.total_width = le16_make(WIDTH_UNKNOWN),
		.data_width = le16_make(WIDTH_UNKNOWN),
		.size_mib = le16_make((uint16_t)(big ? 0x7fff : mib)),
		.form_factor = FORM_DIMM,
		.locator = 1,
		.type = MEMORY_RAM,
		.detail = le16_make(DETAIL_OTHER),
		.manufacturer = 2,
		.extended_size_mib = le32_make((uint32_t)(big ? mib & 0x7fffffff : 0)),
	};

	PUT(w, &array, 16, HANDLE_ARRAY, "");
	PUT(w, &device, 17, HANDLE_DEVICE, "DIMM 0\0vmm\0");
}

static void put_addresses(struct writer *w, const struct mm_map *ram)
{
	for (unsigned i = 0; i < ram->n; i++) {
		const struct mm_region *region = &ram->regions[i];
		struct smbios_mapped_address s = {
			.first_kib = le32_make(UINT32_MAX),
			.last_kib = le32_make(UINT32_MAX),
			.array = le16_make(HANDLE_ARRAY),
			.width = 1,
			.first = le64_make(region->gpa.v),
			.last = le64_make(region->gpa.v + (region->size - 1)),
		};

		PUT(w, &s, 19, HANDLE_ADDRESS + i, "");
	}
}

static void put_end(struct writer *w)
{
	struct smbios_boot_info info = {0};
	struct smbios_header end = {0};

	PUT(w, &info, 32, 0x2000, "");
	PUT(w, &end, 127, 0x7f00, "");
}

static void put_entry(uint8_t *at, size_t table_offset, size_t table_len)
{
	struct smbios3_entry entry = {
		.anchor = {'_', 'S', 'M', '3', '_'},
		.length = sizeof(entry),
		.major = 3,
		.entry_revision = 1,
		.max_size = le32_make((uint32_t)table_len),
		.table = le64_make(SMBIOS_START + table_offset),
	};
	uint8_t raw[sizeof(entry)], sum = 0;

	memcpy(raw, &entry, sizeof(raw));
	for (size_t i = 0; i < sizeof(raw); i++)
		sum = (uint8_t)(sum + raw[i]);
	entry.checksum = (uint8_t)-sum;
	memcpy(at, &entry, sizeof(entry));
}

int smbios_build(const struct boot_platform *platform, const struct mm_map *ram, struct err *err)
{
	const size_t size = BIOS_END - SMBIOS_START, offset = 0x20;
	uint8_t *host = mm_map_host(ram, GPA(SMBIOS_START), size);
	struct writer w;

	if (!host)
		return err_set(err, -EFAULT, "SMBIOS tables: no memory at %#x", SMBIOS_START);
	w = (struct writer){.at = host + offset, .end = host + size};
	put_bios(&w);
	put_system(&w);
	put_chassis(&w);
	put_processor(&w, platform->n_cpus);
	put_memory(&w, total_ram(ram));
	put_addresses(&w, ram);
	put_end(&w);
	if (w.failed)
		return err_set(err, -ENOSPC, "SMBIOS tables do not fit the %zu bytes there are",
			       size);
	put_entry(host, offset, (size_t)(w.at - host) - offset);
	return 0;
}
