/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of boot/ tell each other: a kernel file that was checked (struct kernel_info,
 * nothing loaded yet) and where it was put (struct kernel_image).
 */
#ifndef VMM_BOOT_KERNEL_H
#define VMM_BOOT_KERNEL_H

#include <stddef.h>

#include "boot/boot.h"

enum { KERNEL_HEAD_SIZE = 1024, KERNEL_HEADER_MAX = 160 };

/* The first bytes of a file; short files leave the rest 0. */
struct kernel_head {
	uint8_t bytes[KERNEL_HEAD_SIZE];
	size_t len;
};

struct kernel_info {
	enum boot_kernel_kind kind;
	uint32_t cmdline_limit; /* bytes without the final 0 */
	uint64_t initrd_limit;	/* an initrd ends at or below it */
	bool initrd_above_4g;	/* initrd_limit may be passed over where memory is short */
	/* bzImage */
	uint64_t payload_offset; /* of the protected-mode part in the file */
	uint64_t payload_size;
	uint64_t load_addr;
	uint64_t run_size; /* what it needs from load_addr up until it finds memory by itself */
	uint8_t header[KERNEL_HEADER_MAX]; /* the setup header, for the zero page */
	size_t header_len;
	/* ELF */
	uint64_t phdr_offset;
	unsigned n_phdrs;
	uint64_t elf_entry; /* e_entry as it stands */
	uint64_t pvh_entry; /* KERNEL_ELF_PVH */
};

struct kernel_image {
	uint64_t start, end; /* [start, end) stays clear of everything else */
	uint64_t entry64;    /* 0: none */
};

int kernel_read_head(const struct boot_file *file, struct kernel_head *ret,
		     struct err *err) must_check;

/* By content; checks all that can be checked without memory. 0 or -errno with a message. */
int kernel_check(const struct boot_file *file, struct kernel_info *ret, struct err *err) must_check;

/* Says what a file that is no kernel for us seems to be. Always fails, with -ENOEXEC. */
int kernel_refuse(const struct boot_file *file, const struct kernel_head *head,
		  struct err *err) must_check;

/* fd_pread_full with a message: a file that became shorter, a directory, an I/O error. */
int kernel_read(const struct boot_file *file, void *to, uint64_t len, uint64_t offset,
		struct err *err) must_check;

/* "FILE needs at least N MiB of memory; there is M MiB below ...". Returns -ENOMEM. */
int kernel_needs_memory(const struct boot_params *params, const struct boot_file *file,
			uint64_t end, struct err *err) must_check;

#endif
