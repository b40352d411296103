/* SPDX-License-Identifier: Apache-2.0 */
#include "mm/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "mm/address.h"
#include "mm/cgroup.h"

#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26
#endif

static const char *size_name(uint64_t page_size)
{
	return page_size == GIB(1) ? "1G" : "2M";
}

/* A sealed memfd of the right size; sealing keeps a peer from cutting memory away under the guest.
 */
static int memfd_new(const struct mm_ram_opts *opts, int *ret, struct err *err)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	_cleanup_close_ int fd = -1;

	if (opts->page_size)
		flags |= MFD_HUGETLB |
			 ((unsigned)__builtin_ctzll(opts->page_size) << MFD_HUGE_SHIFT);
	fd = memfd_create("vmm-ram", flags);
	if (fd < 0)
		return err_set(err, -errno, "can't create %smemory for the guest: %s",
			       opts->page_size ? "huge page " : "shared ", strerror(errno));
	if (ftruncate(fd, (off_t)opts->size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_set(err, -errno, "can't size the guest's memory: %s", strerror(errno));
	*ret = TAKE_FD(fd);
	return 0;
}

static int map_ram(struct mm_ram *ram, bool on_demand, struct err *err)
{
	int flags = MAP_FIXED | (ram->fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);
	uint64_t align = MAX(ram->page_size, MIB(2));
	void *at = mm_address_reserve(ram->size, align);

	/* Huge pages are reserved by mmap(), so that a shortage shows here and not as SIGBUS later.
	 */
	if (!ram->page_size || on_demand)
		flags |= MAP_NORESERVE;
	if (at && mmap(at, ram->size, PROT_READ | PROT_WRITE, flags, ram->fd, 0) == MAP_FAILED) {
		int saved = errno;

		(void)munmap(at, ram->size);
		errno = saved;
		at = NULL;
	}
	if (!at)
		return err_set(err, -errno, "--mem: can't map %llu MiB for the guest: %s",
			       (unsigned long long)(ram->size >> 20), strerror(errno));
	ram->host = at;
	return 0;
}

int mm_ram_new(const struct mm_ram_opts *opts, struct mm_ram **ret, struct err *err)
{
	struct mm_ram *ram = calloc(1, sizeof(*ram));
	int r = 0;

	if (!ram)
		return err_set(err, -ENOMEM, "out of memory");
	ram->fd = -1;
	ram->size = opts->size;
	ram->page_size = opts->page_size;
	if (opts->shared || opts->page_size)
		r = memfd_new(opts, &ram->fd, err);
	if (r == 0)
		r = map_ram(ram, opts->on_demand, err);
	if (r < 0) {
		ram = mm_ram_free(ram);
		return r;
	}
	if (ram->fd < 0 &&
	    madvise(ram->host, ram->size, opts->thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) < 0)
		log_debug("transparent huge pages: %s", strerror(errno));
	/* A core dump of vmm is for vmm's own state, and not gigabytes of the guest's secrets. */
	(void)madvise(ram->host, ram->size, MADV_DONTDUMP);
	*ret = ram;
	return 0;
}

struct mm_ram *mm_ram_free(struct mm_ram *ram)
{
	if (!ram)
		return NULL;
	if (ram->host)
		(void)munmap(ram->host, ram->size);
	(void)fd_close(ram->fd);
	free(ram);
	return NULL;
}

void mm_ram_region(const struct mm_ram *ram, gpa_t gpa, uint64_t offset, uint64_t size,
		   struct mm_region *ret)
{
	vmm_assert(range_inside(offset, size, 0, ram->size));
	*ret = (struct mm_region){
		.gpa = gpa,
		.size = size,
		.host = (char *)ram->host + offset,
		.fd = ram->fd,
		.offset = offset,
		.page_size = ram->page_size,
	};
}

void mm_ram_layout(const struct mm_ram *ram, uint64_t hole_start, uint64_t hole_end,
		   struct mm_map *ret)
{
	uint64_t low = MIN(ram->size, hole_start);

	vmm_assert(is_aligned(hole_start, GIB(1)) && is_aligned(hole_end, GIB(1)));
	*ret = (struct mm_map){.n = 1};
	mm_ram_region(ram, GPA(0), 0, low, &ret->regions[0]);
	if (ram->size > low)
		mm_ram_region(ram, GPA(hole_end), low, ram->size - low, &ret->regions[ret->n++]);
}

int mm_ram_clear(const struct mm_ram *ram)
{
	/* A hole would give the huge pages back to the host, and another process could take them.
	 */
	if (ram->page_size) {
		memset(ram->host, 0, ram->size);
		return 0;
	}
	if (ram->fd >= 0) {
		if (fallocate(ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			      (off_t)ram->size) < 0)
			return -errno;
		return 0;
	}
	return madvise(ram->host, ram->size, MADV_DONTNEED) < 0 ? -errno : 0;
}

static bool read_number(const char *path, uint64_t *ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[64];
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	*ret = strtoull(text, NULL, 10);
	return true;
}

static int check_hugepages(const struct mm_ram_opts *opts, struct err *err)
{
	uint64_t need = opts->size / opts->page_size, free_pages = 0, reserved = 0, total = 0;
	const char *dir = opts->page_size == GIB(1) ? "/sys/kernel/mm/hugepages/hugepages-1048576kB"
						    : "/sys/kernel/mm/hugepages/hugepages-2048kB";
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/free_hugepages", dir);
	if (!read_number(path, &free_pages))
		return err_set(err, -ENOTSUP,
			       "hugepages=%s: this host has no huge pages of that size",
			       size_name(opts->page_size));
	(void)snprintf(path, sizeof(path), "%s/resv_hugepages", dir);
	(void)read_number(path, &reserved);
	free_pages -= MIN(reserved, free_pages);
	(void)snprintf(path, sizeof(path), "%s/nr_hugepages", dir);
	(void)read_number(path, &total);
	if (need <= free_pages)
		return 0;
	return err_set(
		err, -ENOMEM,
		"hugepages=%s: %llu pages are needed and %llu are free; as root: echo %llu > "
		"%s/nr_hugepages, or leave hugepages= out",
		size_name(opts->page_size), (unsigned long long)need,
		(unsigned long long)free_pages, (unsigned long long)(total + need - free_pages),
		dir);
}

/* Memory and swap of the host, in bytes; 0 when it can't be told. */
static uint64_t host_memory(void)
{
	struct sysinfo info;

	if (sysinfo(&info) < 0)
		return 0;
	return ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
}

/* A guest that touches more than the cgroup allows is killed with its vmm. */
static int check_cgroup(const struct mm_ram_opts *opts, struct err *err)
{
	uint64_t limit;
	bool v1;

	if (cgroup_memory_limit(&limit, &v1) < 0 || opts->size <= limit)
		return 0;
	return err_set(
		err, -ENOMEM,
		"--mem: %llu MiB is more than this process' memory cgroup allows (%llu MiB); "
		"give a smaller --mem, or the cgroup a higher %s",
		(unsigned long long)(opts->size >> 20), (unsigned long long)(limit >> 20),
		v1 ? "memory.limit_in_bytes" : "memory.max");
}

int mm_ram_check(const struct mm_ram_opts *opts, struct err *err)
{
	uint64_t total = host_memory();

	if (opts->page_size)
		return check_hugepages(opts, err);
	if (total && opts->size > total)
		return err_set(err, -ENOMEM,
			       "--mem: %llu MiB is more than this host has (%llu MiB with swap); "
			       "give a smaller --mem",
			       (unsigned long long)(opts->size >> 20),
			       (unsigned long long)(total >> 20));
	return check_cgroup(opts, err);
}
