/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest for the tests of boot/: memory, a platform, and kernels made by hand. Memory that no test
 * touches is not there: regions above the first may have a host pointer to nothing.
 */
#ifndef VMM_TESTS_UNIT_BOOT_GUEST_H
#define VMM_TESTS_UNIT_BOOT_GUEST_H

#include <elf.h>

#include "boot/boot.h"

struct guest {
	struct mm_map ram;
	struct boot_params params;
	struct boot_entry entry;
	struct err err;
	uint32_t apic_ids[300];
};

/* One CPU, `bytes` of memory split at 3 GiB as the machine does; nothing of it is committed yet. */
void guest_init(struct guest *g, uint64_t bytes);
void guest_done(struct guest *g);
void guest_cpus(struct guest *g, unsigned n, unsigned first_apic_id);

/* Guest memory; asserts that it is there. */
void *guest_at(const struct guest *g, uint64_t gpa, uint64_t len);

/* A memfd with these bytes. The name is for messages. */
struct boot_file file_make(const char *name, const void *bytes, size_t len);
/* The same, `size` bytes long, zeros with a mark at both ends. */
struct boot_file file_sparse(const char *name, uint64_t size);
/* An existing file, fd -1 if there is none. */
struct boot_file file_open(const char *path);

/* boot_load(); asserts that it works. */
void guest_boot(struct guest *g);
/* boot_load() must fail with `code`, and each of the NULL-ended texts must be in the message. */
void guest_refuses(struct guest *g, int code, const char *first, ...);

enum { BZ_SETUP = 1024, BZ_SYS = 4096, BZ_SIZE = BZ_SETUP + BZ_SYS };

/* A small bzImage that is as it should be; its protected-mode part is a pattern: byte i is i * 7.
 */
void bzimage_make(uint8_t bytes[BZ_SIZE]);

struct elf_maker {
	Elf64_Ehdr e;
	Elf64_Phdr ph[4];
	struct {
		Elf64_Nhdr h;
		char name[4];
		uint64_t desc;
	} note;
	uint8_t code[4096]; /* byte i is i * 5 */
};

/* A vmlinux: one segment at 16 MiB with 8 KiB of bss, loaded at the usual virtual address; with a
 * note. */
void elf_make(struct elf_maker *elf, bool pvh);

#endif
