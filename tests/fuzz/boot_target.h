/* SPDX-License-Identifier: Apache-2.0 */
/* For the fuzz targets of boot/: a guest of 64 MiB, made once, that gets the input as its kernel
 * file. */
#ifndef VMM_TESTS_FUZZ_BOOT_TARGET_H
#define VMM_TESTS_FUZZ_BOOT_TARGET_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "boot/boot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TARGET_RAM = 64 << 20 };

static const struct mm_map *target_ram(void)
{
	static struct mm_map ram;

	if (!ram.n) {
		ram.regions[0] = (struct mm_region){.size = TARGET_RAM, .fd = -1};
		ram.regions[0].host = malloc(TARGET_RAM);
		if (!ram.regions[0].host)
			abort();
		ram.n = 1;
	}
	return &ram;
}

static struct boot_params target_params(enum boot_protocol protocol)
{
	static const uint32_t apic_id;

	return (struct boot_params){
		.kernel = {.fd = -1, .name = "kernel"},
		.initrd = {.fd = -1},
		.cmdline = "console=ttyS0",
		.protocol = protocol,
		.ram = target_ram(),
		.platform = {.n_cpus = 1,
			     .apic_ids = &apic_id,
			     .ecam_base = 0xe0000000,
			     .ecam_size = MIB(256),
			     .mmio32_base = 0xc0000000,
			     .mmio32_size = 0x20000000},
	};
}

/* The same bytes twice, as kernel and as initrd. What boot/ promises is checked: a failure has a
 * message. */
static void target_load(const uint8_t *data, size_t size, enum boot_protocol protocol)
{
	struct boot_params params = target_params(protocol);
	struct boot_entry entry = {0};
	struct err err = {0};
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	params.kernel.fd = fd;
	params.kernel.size = size;
	params.initrd = params.kernel;
	params.initrd.name = "initrd";
	if (boot_load(&params, &entry, &err) < 0) {
		if (!err.code || !strstr(err.msg, "kernel"))
			abort();
	} else if (!mm_map_host(params.ram, GPA(entry.rip), 1)) {
		abort();
	}
	(void)close(fd);
}

#endif
