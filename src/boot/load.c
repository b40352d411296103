/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "boot/boot.h"
#include "boot/initrd.h"
#include "boot/kernel.h"
#include "boot/x86/entry.h"
#include "boot/x86/formats.h"
#include "boot/x86/layout.h"
#include "boot/x86/tables.h"

int boot_identify(const struct boot_file *kernel, enum boot_kernel_kind *ret, struct err *err)
{
	struct kernel_info info;
	int r = kernel_check(kernel, &info, err);

	if (r == 0)
		*ret = info.kind;
	return r;
}

int boot_cmdline_limit(const struct boot_file *kernel, uint32_t *ret, struct err *err)
{
	struct kernel_info info;
	int r = kernel_check(kernel, &info, err);

	if (r == 0)
		*ret = info.cmdline_limit;
	return r;
}

int kernel_needs_memory(const struct boot_params *params, const struct boot_file *file,
			uint64_t end, struct err *err)
{
	uint64_t have = params->ram->regions[0].size, most = params->platform.mmio32_base;

	if (end > most)
		return err_set(
			err, -ENOMEM,
			"kernel '%s': needs memory up to %#llx, and RAM below 4 GiB ends at %#llx "
			"at most: it is for another machine",
			file->name, (unsigned long long)end, (unsigned long long)most);
	return err_set(err, -ENOMEM,
		       "kernel '%s': needs at least %llu MiB of memory, the machine has %llu; give "
		       "it more "
		       "with --mem",
		       file->name, (unsigned long long)(align_up(end, MIB(1)) >> 20),
		       (unsigned long long)(have >> 20));
}

static int check_params(const struct boot_params *params, struct err *err)
{
	const struct mm_map *ram = params->ram;

	if (ram->n == 0 || ram->regions[0].gpa.v != 0 || ram->regions[0].size < MIB(16))
		return err_set(err, -EINVAL,
			       "the guest's memory must start at 0 and have at least 16 MiB there");
	return 0;
}

/* AUTO becomes one of the others; what the kernel lacks is refused. */
static int choose_protocol(const struct boot_params *params, const struct kernel_info *info,
			   enum boot_protocol *ret, struct err *err)
{
	*ret = params->protocol;
	if (*ret == BOOT_AUTO)
		*ret = info->kind == KERNEL_ELF_PVH ? BOOT_PVH : BOOT_LINUX64;
	if (*ret == BOOT_PVH && info->kind == KERNEL_BZIMAGE)
		return err_set(
			err, -EINVAL,
			"kernel '%s': a bzImage has no PVH entry; use protocol auto or linux64, or "
			"the ELF vmlinux",
			params->kernel.name);
	if (*ret == BOOT_PVH && info->kind == KERNEL_ELF)
		return err_set(err, -EINVAL,
			       "kernel '%s': this ELF file has no PVH note (Linux: CONFIG_PVH); "
			       "use protocol "
			       "auto or linux64",
			       params->kernel.name);
	return 0;
}

static int check_cmdline(const struct boot_params *params, const struct kernel_info *info,
			 struct err *err)
{
	size_t len = strlen(params->cmdline);

	if (len <= info->cmdline_limit)
		return 0;
	return err_set(
		err, -E2BIG,
		"the kernel command line has %zu bytes, kernel '%s' takes at most %u: shorten what "
		"--append gives",
		len, params->kernel.name, info->cmdline_limit);
}

static int load_kernel(const struct boot_params *params, const struct kernel_info *info,
		       struct kernel_image *ret, struct err *err)
{
	return info->kind == KERNEL_BZIMAGE ? bzimage_load(params, info, ret, err)
					    : elf_load(params, info, ret, err);
}

/* Memory below 1 MiB is always there: check_params(). */
static uint8_t *low_host(const struct boot_params *params, uint64_t gpa, uint64_t len)
{
	return mm_map_host(params->ram, GPA(gpa), len);
}

static int enter_linux64(const struct boot_params *params, const struct kernel_info *info,
			 const struct kernel_image *image, const struct handover *handover,
			 struct boot_entry *ret, struct err *err)
{
	uint8_t *low = low_host(params, 0, LOW_RAM_END);

	if (!image->entry64)
		return err_set(err, -ENOEXEC,
			       "kernel '%s': its entry point %#llx lies in none of its segments, "
			       "so it has no "
			       "64-bit entry; use protocol pvh if it has a PVH note",
			       params->kernel.name, (unsigned long long)info->elf_entry);
	if (!low)
		return -EFAULT;
	zero_page_fill(low + LOW_ZERO_PAGE, info, handover);
	paging_fill(low + LOW_GDT, low + LOW_PAGE_TABLES, ret);
	ret->rip = image->entry64;
	ret->rsi = LOW_ZERO_PAGE;
	return 0;
}

static int enter_pvh(const struct boot_params *params, const struct kernel_info *info,
		     const struct handover *handover, struct boot_entry *ret)
{
	uint8_t *page = low_host(params, LOW_START_INFO, GUEST_PAGE);

	if (!page)
		return -EFAULT;
	pvh_fill(page, LOW_START_INFO, handover);
	ret->rip = info->pvh_entry;
	ret->rbx = LOW_START_INFO;
	return 0;
}

/* Kernel and initrd: everything that comes out of files. */
static int load_files(const struct boot_params *params, const struct kernel_info *info,
		      struct kernel_image *image, struct handover *handover, struct err *err)
{
	int r = load_kernel(params, info, image, err);

	if (r == 0)
		r = initrd_load(params, info, image, &handover->initrd, err);
	if (r == 0)
		handover->initrd_size = params->initrd.fd >= 0 ? params->initrd.size : 0;
	return r;
}

/* Tables and command line: everything that we make up ourselves. */
static int write_tables(const struct boot_params *params, struct handover *handover,
			gpa_t *ret_rsdp, struct err *err)
{
	int r = acpi_build(&params->platform, params->ram, ret_rsdp, err);

	if (r == 0)
		r = smbios_build(&params->platform, params->ram, err);
	if (r == 0)
		r = reset_vector_build(&params->platform, params->ram, err);
	if (r < 0)
		return r;
	handover->rsdp = ret_rsdp->v;
	handover->cmdline = LOW_CMDLINE;
	return mm_map_write(params->ram, GPA(LOW_CMDLINE), params->cmdline,
			    strlen(params->cmdline) + 1);
}

int boot_load(const struct boot_params *params, struct boot_entry *ret, struct err *err)
{
	struct kernel_info info;
	struct kernel_image image;
	struct e820 e820;
	struct handover handover = {.e820 = &e820};
	struct boot_entry entry = {.rsp = LOW_STACK_TOP};
	int r = check_params(params, err);

	if (r == 0)
		r = kernel_check(&params->kernel, &info, err);
	if (r == 0)
		r = choose_protocol(params, &info, &entry.protocol, err);
	if (r == 0)
		r = check_cmdline(params, &info, err);
	if (r == 0)
		r = load_files(params, &info, &image, &handover, err);
	if (r == 0)
		r = write_tables(params, &handover, &entry.rsdp, err);
	if (r < 0)
		return r;
	entry.kind = info.kind;
	e820_build(&params->platform, params->ram, &e820);
	if (entry.protocol == BOOT_PVH)
		r = enter_pvh(params, &info, &handover, &entry);
	else
		r = enter_linux64(params, &info, &image, &handover, &entry, err);
	if (r == 0)
		*ret = entry;
	return r;
}
