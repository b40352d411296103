/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot/: puts a guest into memory. Pure: open files and numbers in, guest memory and an entry state
 * out; no KVM, no paths, no globals. Everything in a kernel file is untrusted input.
 *
 * Runs on main before the vCPUs start, and again for each reset in place: the files are read with
 * pread() from descriptors that stay open.
 */
#ifndef VMM_BOOT_BOOT_H
#define VMM_BOOT_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "mm/map.h"

enum boot_protocol { BOOT_AUTO, BOOT_LINUX64, BOOT_PVH };

struct boot_file {
	int fd;		  /* -1: none */
	const char *name; /* for messages */
	uint64_t size;	  /* bytes */
};

/* A virtio device on MMIO: its registers, and an edge on a pin of the IOAPIC. */
struct boot_virtio_mmio {
	uint32_t base, size;
	uint8_t gsi;
};

/* The platform that the tables describe to the guest. machine/ fills it from its layout. */
struct boot_platform {
	unsigned n_cpus;
	const uint32_t *apic_ids;	   /* n_cpus of them */
	uint64_t ecam_base, ecam_size;	   /* PCIe configuration space, bus 0 up; 1 MiB a bus */
	uint64_t mmio32_base, mmio32_size; /* window for 32-bit BARs */
	uint64_t mmio64_base, mmio64_size; /* window for 64-bit BARs; size 0: none */
	uint32_t ioapic_base, lapic_base;
	uint16_t sleep_port, reset_port; /* FADT: sleep control (status behind it); reset */
	uint8_t reset_value;
	uint16_t ged_port; /* a read takes the pending events (bit 0 power button); 0: none */
	uint8_t ged_gsi;
	uint16_t serial_port; /* 0: no UART */
	uint8_t serial_gsi;
	uint16_t rtc_port;     /* PNP0B00; 0: none */
	uint8_t rtc_gsi;       /* 0: no interrupt */
	uint16_t pvpanic_port; /* 0: none */
	/* LNRO0005, in the order in which drivers find them. */
	const struct boot_virtio_mmio *virtio_mmio;
	unsigned n_virtio_mmio;
};

struct boot_params {
	struct boot_file kernel, initrd;
	const char *cmdline;	     /* the whole effective one */
	enum boot_protocol protocol; /* AUTO: PVH for an ELF with the note, else the 64-bit entry */
	const struct mm_map
		*ram; /* regions in order; the first starts at 0 and is at least 16 MiB */
	struct boot_platform platform;
};

enum boot_kernel_kind { KERNEL_BZIMAGE, KERNEL_ELF, KERNEL_ELF_PVH };

/*
 * How the boot vCPU starts. LINUX64: long mode with paging on (identity map of the low 4 GiB at
 * cr3, GDT with flat 64-bit code at selector 0x10 and data at 0x18), rsi = the zero page,
 * interrupts off (Documentation/arch/x86/boot.rst, 64-bit boot protocol). PVH: 32-bit protected
 * mode, paging off, flat segments, rbx = the start info
 * (xen/include/public/arch-x86/hvm/start_info.h).
 */
struct boot_entry {
	enum boot_protocol protocol; /* never AUTO */
	enum boot_kernel_kind kind;
	uint64_t rip;
	uint64_t rsi, rbx;
	uint64_t rsp;
	uint64_t cr3; /* LINUX64 only */
	gpa_t gdt;    /* LINUX64 only: where the GDT was put */
	uint16_t gdt_limit;
	gpa_t rsdp;
};

/* Says what a kernel is, by content, without loading it. 0 or -errno with a message. */
int boot_identify(const struct boot_file *kernel, enum boot_kernel_kind *ret,
		  struct err *err) must_check;

/* The longest command line that this kernel takes, in bytes without the final 0. */
int boot_cmdline_limit(const struct boot_file *kernel, uint32_t *ret, struct err *err) must_check;

/* Loads everything: kernel, initrd, command line, e820, ACPI and SMBIOS tables. 0 or -errno with a
 * message. */
int boot_load(const struct boot_params *params, struct boot_entry *ret, struct err *err) must_check;

#endif
