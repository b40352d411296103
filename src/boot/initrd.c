/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/initrd.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "boot/x86/layout.h"

/* The highest page in [start, end) with size bytes behind it. */
static bool fits(uint64_t start, uint64_t end, uint64_t size, uint64_t *ret)
{
	uint64_t at;

	if (end <= start || end - start < size)
		return false;
	at = align_down(end - size, GUEST_PAGE);
	if (at < start)
		return false;
	*ret = at;
	return true;
}

static bool find_low(const struct kernel_image *image, uint64_t limit, uint64_t size, uint64_t *ret)
{
	return fits(image->end, limit, size, ret) ||
	       fits(HIGH_RAM_START, MIN(image->start, limit), size, ret);
}

static bool find_high(const struct mm_map *ram, uint64_t size, uint64_t *ret)
{
	for (unsigned i = ram->n - 1; i > 0; i--) {
		const struct mm_region *r = &ram->regions[i];

		if (fits(r->gpa.v, r->gpa.v + r->size, size, ret))
			return true;
	}
	return false;
}

static bool find_place(const struct boot_params *params, const struct kernel_info *info,
		       const struct kernel_image *image, uint64_t *ret)
{
	uint64_t size = params->initrd.size;
	uint64_t low_end = params->ram->regions[0].size;

	if (find_low(image, MIN(info->initrd_limit, low_end), size, ret))
		return true;
	return info->initrd_above_4g &&
	       (find_low(image, low_end, size, ret) || find_high(params->ram, size, ret));
}

static unsigned long long in_mib(uint64_t bytes)
{
	return (bytes >> 20) + ((bytes & (MIB(1) - 1)) != 0);
}

static int no_place(const struct boot_params *params, const struct kernel_info *info,
		    const struct kernel_image *image, struct err *err)
{
	const struct boot_file *initrd = &params->initrd;
	uint64_t low_max = params->platform.mmio32_base; /* where RAM below 4 GiB can end at most */
	uint64_t limit = MIN(info->initrd_limit, low_max);
	uint64_t need;

	if (info->initrd_above_4g)
		limit = low_max;
	/* One page more: both ends are rounded. */
	if (ckd_add(&need, image->end, initrd->size) || ckd_add(&need, need, GUEST_PAGE))
		need = UINT64_MAX;
	if (need > limit && info->initrd_above_4g && need != UINT64_MAX)
		need = low_max + initrd->size + GUEST_PAGE;
	else if (need > limit)
		return err_set(err, -ENOMEM,
			       "initrd '%s': %llu MiB; this kernel takes an initrd of at most %llu "
			       "MiB, more "
			       "memory does not help: make it smaller",
			       initrd->name, in_mib(initrd->size),
			       limit > image->end ? (unsigned long long)((limit - image->end) >> 20)
						  : 0ULL);
	return err_set(
		err, -ENOMEM,
		"initrd '%s': %llu MiB do not fit beside the kernel: the machine needs at least "
		"%llu MiB of memory; give it more with --mem",
		initrd->name, in_mib(initrd->size), in_mib(need));
}

int initrd_load(const struct boot_params *params, const struct kernel_info *info,
		const struct kernel_image *image, uint64_t *ret_addr, struct err *err)
{
	const struct boot_file *initrd = &params->initrd;
	uint64_t addr = 0, tail;
	uint8_t *host;
	int r;

	if (initrd->fd < 0) {
		*ret_addr = 0;
		return 0;
	}
	if (initrd->size == 0)
		return err_set(err, -EINVAL, "initrd '%s': the file is empty; leave --initrd out",
			       initrd->name);
	if (!find_place(params, info, image, &addr))
		return no_place(params, info, image, err);
	/* Up to the page's end: what RAM held before a reset must not look like part of the initrd.
	 */
	tail = align_up(initrd->size, GUEST_PAGE) - initrd->size;
	host = mm_map_host(params->ram, GPA(addr), initrd->size + tail);
	if (!host)
		return no_place(params, info, image, err);
	r = kernel_read(initrd, host, initrd->size, 0, err);
	if (r < 0)
		return r;
	memset(host + initrd->size, 0, tail);
	*ret_addr = addr;
	return 0;
}
