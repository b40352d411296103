/* SPDX-License-Identifier: Apache-2.0 */
/* The two kernel formats: check first, then load into the first region of RAM. */
#ifndef VMM_BOOT_X86_FORMATS_H
#define VMM_BOOT_X86_FORMATS_H

#include "boot/kernel.h"

bool bzimage_matches(const struct kernel_head *head);
int bzimage_check(const struct boot_file *file, const struct kernel_head *head,
		  struct kernel_info *ret, struct err *err) must_check;
int bzimage_load(const struct boot_params *params, const struct kernel_info *info,
		 struct kernel_image *ret, struct err *err) must_check;

bool elf_matches(const struct kernel_head *head);
int elf_check(const struct boot_file *file, const struct kernel_head *head, struct kernel_info *ret,
	      struct err *err) must_check;
int elf_load(const struct boot_params *params, const struct kernel_info *info,
	     struct kernel_image *ret, struct err *err) must_check;

#endif
