/* SPDX-License-Identifier: Apache-2.0 */
/* Finds a place for the initrd and reads it there. */
#ifndef VMM_BOOT_INITRD_H
#define VMM_BOOT_INITRD_H

#include "boot/kernel.h"

/*
 * As high as possible below what the kernel can reach, on a page, clear of the kernel: above it, or
 * else between 1 MiB and it, or else (kernels that allow it) anywhere. ret_addr is 0 without an
 * initrd. 0, -ENOMEM with a message that says how much memory is needed, or the error of reading.
 */
int initrd_load(const struct boot_params *params, const struct kernel_info *info,
		const struct kernel_image *image, uint64_t *ret_addr, struct err *err) must_check;

#endif
