/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/pmem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/text.h"
#include "mm/address.h"

static int open_file(const struct pmem_opts *opts, int *ret, struct err *err)
{
	int fd = open(opts->path, (opts->ro ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	int e = -errno;

	if (fd >= 0) {
		*ret = fd;
		return 0;
	}
	if (e == -ENOENT)
		return err_set(err, e, "--pmem: there is no %s; make it first: truncate -s 1G %s",
			       opts->path, opts->path);
	if (!opts->ro && (e == -EACCES || e == -EROFS || e == -EPERM))
		return err_set(
			err, e,
			"--pmem: %s can't be opened for writing: %s; if the guest shall only "
			"read it, add ,ro",
			opts->path, strerror(-e));
	return err_set(err, e, "--pmem: can't open %s: %s", opts->path, strerror(-e));
}

/* Of the open file description, so that a fork or another descriptor doesn't lose it. */
static int lock_file(const struct pmem_opts *opts, int fd, struct err *err)
{
	struct flock lock = {.l_type = opts->ro ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
	int e;

	if (opts->no_lock || fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	e = -errno;
	if (e == -EAGAIN || e == -EACCES)
		return err_set(
			err, -EBUSY,
			"--pmem: %s is in use by another VM or program, which has it locked; "
			"stop that first%s",
			opts->path, opts->ro ? "" : ", or let both have it with ,ro");
	return err_set(err, e, "--pmem: can't lock %s: %s", opts->path, strerror(-e));
}

static int file_size(const char *path, int fd, uint64_t *ret, struct err *err)
{
	struct stat st;
	off_t end;

	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "--pmem: %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, -EINVAL, "--pmem: %s is neither a file nor a block device",
			       path);
	end = lseek(fd, 0, SEEK_END);
	if (end < 0)
		return err_set(err, -errno, "--pmem: %s: %s", path, strerror(errno));
	*ret = (uint64_t)end;
	return 0;
}

static int find_size(const struct pmem_opts *opts, int fd, uint64_t *ret, struct err *err)
{
	uint64_t have = 0, want;
	int r = file_size(opts->path, fd, &have, err);

	if (r < 0)
		return r;
	want = opts->size ? opts->size : MAX(align_up(have, PMEM_ALIGN), (uint64_t)PMEM_ALIGN);
	if (!is_aligned(want, PMEM_ALIGN))
		return err_set(err, -EINVAL, "--pmem: size= must be a multiple of 2M");
	if (want > have)
		return err_set(
			err, -EINVAL,
			"--pmem: %s has %llu bytes, %s; make it larger: truncate -s %lluM %s",
			opts->path, (unsigned long long)have,
			opts->size ? "less than size= says"
				   : "and Linux takes multiples of 2 MiB only",
			(unsigned long long)(want >> 20), opts->path);
	*ret = want;
	return 0;
}

/*
 * A read-only file is writable in this process, where that makes private copies: a disk that is
 * told to read into it must not crash vmm. The guest can't write, its memory slot is read-only.
 */
static int map_file(struct pmem *p, const char *path, struct err *err)
{
	int flags = MAP_FIXED | (p->ro ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED);
	void *at = mm_address_reserve(p->size, PMEM_ALIGN);

	if (!at)
		return err_set(err, -errno, "--pmem: no room to map %s: %s", path, strerror(errno));
	p->host = at;
	if (mmap(at, p->size, PROT_READ | PROT_WRITE, flags, p->fd, 0) == MAP_FAILED)
		return err_set(err, -errno, "--pmem: can't map %s: %s", path, strerror(errno));
	/* As with the guest's RAM. */
	(void)madvise(at, p->size, MADV_DONTDUMP);
	return 0;
}

DEFINE_CLEANUP(struct pmem *, pmem_free);

int pmem_new(const struct pmem_opts *opts, struct pmem **ret, struct err *err)
{
	_cleanup_(pmem_free_cleanup) struct pmem *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_set(err, -ENOMEM, "out of memory");
	p->fd = -1;
	p->ro = opts->ro;
	r = open_file(opts, &p->fd, err);
	if (r == 0)
		r = find_size(opts, p->fd, &p->size, err);
	if (r == 0)
		r = lock_file(opts, p->fd, err);
	if (r == 0)
		r = map_file(p, opts->path, err);
	if (r == 0)
		*ret = TAKE_PTR(p);
	return r;
}

struct pmem *pmem_free(struct pmem *p)
{
	if (!p)
		return NULL;
	if (p->host)
		(void)munmap(p->host, p->size);
	(void)fd_close(p->fd);
	free(p);
	return NULL;
}

void pmem_region(const struct pmem *p, gpa_t gpa, struct mm_region *ret)
{
	*ret = (struct mm_region){
		.gpa = gpa,
		.size = p->size,
		.host = p->host,
		.fd = p->fd,
		.keep = true,
	};
}
