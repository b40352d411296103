/* SPDX-License-Identifier: Apache-2.0 */
/* Disk images are opened, locked and looked at here. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backend/blk_core.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"

/*
 * A VM that has just ended may still hold its images for a moment: an io_uring gives up its files
 * some time after it is closed.
 */
enum { PATIENCE_NS = 500 * 1000 * 1000, PATIENCE_TRIES = 25 };

/* Before it is opened, so that a FIFO or a tape doesn't do anything. */
static int check_kind(const char *name, const char *path, bool *ret_device, struct err *err)
{
	struct stat st;

	if (stat(path, &st) < 0 && errno == ENOENT)
		return err_set(err, -ENOENT,
			       "%s: there is no such file; make one: truncate -s 10G FILE", name);
	if (stat(path, &st) < 0)
		return err_set(err, -errno, "%s: %s", name, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR,
			       "%s: is a directory; give an image file or a block "
			       "device",
			       name);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, -EINVAL, "%s: is neither a file nor a block device", name);
	*ret_device = S_ISBLK(st.st_mode);
	return 0;
}

static int say_open(const char *name, bool ro, bool direct, int error, struct err *err)
{
	if (error == EBUSY)
		return err_set(
			err, -EBUSY,
			"%s: the device is mounted or in use by another program (another "
			"VM?); unmount it, or add ,ro to read it, or ,lock=off to open it all "
			"the same",
			name);
	if (error == EINVAL && direct)
		return err_set(err, -EINVAL,
			       "%s: its file system has no direct I/O, which cache=none needs; say "
			       "cache=writeback",
			       name);
	if ((error == EACCES || error == EPERM || error == EROFS) && !ro)
		return err_set(err, -error,
			       "%s: cannot be opened for writing: %s; add ,ro to read it, or "
			       ",overlay=on to drop what is written",
			       name, strerror(error));
	return err_set(err, -error, "%s: %s", name, strerror(error));
}

/* Keeps errno. */
static bool wait_a_little(unsigned *tries)
{
	const struct timespec pause = {.tv_nsec = PATIENCE_NS / PATIENCE_TRIES};
	int error = errno;

	if (++*tries > PATIENCE_TRIES)
		return false;
	(void)nanosleep(&pause, NULL);
	errno = error;
	return true;
}

/*
 * No O_NONBLOCK: io_uring takes it as "rather fail than wait", for files too. O_EXCL on a block
 * device (without O_CREAT) is a claim against mounting and others that claim.
 */
static int open_path(const struct blk_opts *opts, bool ro, const char *name, struct blk_file *file,
		     struct err *err)
{
	bool direct = opts->cache == BLK_CACHE_NONE;
	int flags = O_CLOEXEC | O_NOCTTY | (ro ? O_RDONLY : O_RDWR);
	unsigned tries = 0;

	if (direct)
		flags |= O_DIRECT;
	if (file->device && !ro && opts->lock)
		flags |= O_EXCL;
	while ((file->fd = open(opts->path, flags)) < 0)
		if (errno != EBUSY || !wait_a_little(&tries))
			return say_open(name, ro, direct, errno, err);
	return 0;
}

/* ---- the lock ---- */

static int say_locked(int fd, const char *name, bool ro, struct err *err)
{
	struct flock other = {.l_type = (short)(ro ? F_RDLCK : F_WRLCK), .l_whence = SEEK_SET};

	/* Who it is, the kernel doesn't tell: such a lock has no process. */
	if (fcntl(fd, F_OFD_GETLK, &other) == 0 && other.l_type == F_RDLCK)
		return err_set(
			err, -EBUSY,
			"%s: another program (another VM?) reads this image, so it can't be "
			"written; add ,ro or ,overlay=on to read it as well, or ,lock=off to "
			"open it all the same",
			name);
	return err_set(
		err, -EBUSY,
		"%s: another program (another VM?) has this image open for writing; stop that "
		"one first, or add ,lock=off to open it all the same (%s)",
		name,
		ro ? "what is read may be half written" : "two writers destroy a file system");
}

/* The whole file, which also meets the byte ranges that QEMU locks. */
static int set_lock(int fd, bool ro)
{
	struct flock lock = {.l_type = (short)(ro ? F_RDLCK : F_WRLCK), .l_whence = SEEK_SET};
	unsigned tries = 0;

	while (fcntl(fd, F_OFD_SETLK, &lock) < 0)
		if (errno != EAGAIN || !wait_a_little(&tries))
			return -errno;
	return 0;
}

static int lock_image(int fd, const char *name, bool ro, struct err *err)
{
	int r = set_lock(fd, ro);

	if (r == -EAGAIN)
		return say_locked(fd, name, ro, err);
	return r < 0 ? err_set(err, r,
			       "%s: cannot be locked against other programs: %s; add ,lock=off if "
			       "no other one writes it",
			       name, strerror(-r))
		     : 0;
}

/* ---- alignment of direct I/O ---- */

/* Whether it reads a piece of `align` bytes into an address aligned to `mem_align` and no more. */
static bool can_read(int fd, char *buf, uint32_t align, uint32_t mem_align)
{
	return pread(fd, buf + mem_align, align, 0) >= 0;
}

/* For kernels before 6.1, and file systems that don't say. */
static void probe_alignment(struct blk_file *file)
{
	enum { MOST = 4096 };
	static const uint32_t sizes[] = {512, 1024, 2048, MOST};
	_cleanup_free_ char *buf = aligned_alloc(2 * MOST, 4 * MOST);

	file->align = file->mem_align = MOST;
	if (!buf)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(sizes) && file->align == MOST; i++)
		if (can_read(file->fd, buf, sizes[i], MOST))
			file->align = sizes[i];
	for (size_t i = 0; i < ARRAY_SIZE(sizes) && file->mem_align == MOST; i++)
		if (can_read(file->fd, buf, file->align, sizes[i]))
			file->mem_align = sizes[i];
}

static void find_alignment(struct blk_file *file, enum blk_cache cache)
{
	file->align = file->mem_align = 1;
	if (cache != BLK_CACHE_NONE)
		return;
#ifdef STATX_DIOALIGN
	struct statx sx;

	if (statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
	    sx.stx_mask & STATX_DIOALIGN) {
		/* 0: this file is read and written through the page cache after all. */
		file->align = MAX(sx.stx_dio_offset_align, 1U);
		file->mem_align = MAX(sx.stx_dio_mem_align, 1U);
		return;
	}
#endif
	probe_alignment(file);
}

/* ---- geometry ---- */

int blk_image_measure(const struct blk_file *file, uint64_t *ret)
{
	off_t end = lseek(file->fd, 0, SEEK_END);

	if (end < 0)
		return -errno;
	*ret = (uint64_t)end;
	return 0;
}

static bool usable_block(uint32_t size)
{
	return size >= BLK_SECTOR && size <= 65536 && is_aligned(size, BLK_SECTOR) &&
	       (size & (size - 1)) == 0;
}

/* Of a block device as its driver says, of a file what suits its file system. */
static void find_blocks(const struct blk_file *file, struct blk_info *info)
{
	unsigned logical = BLK_SECTOR, physical = BLK_SECTOR;
	struct stat st;

	if (file->device) {
		int sector = BLK_SECTOR;

		if (ioctl(file->fd, BLKSSZGET, &sector) == 0)
			logical = (unsigned)sector;
		(void)ioctl(file->fd, BLKPBSZGET, &physical);
	} else if (fstat(file->fd, &st) == 0) {
		physical = (unsigned)MIN(st.st_blksize, (blksize_t)4096);
	}
	info->logical_block = MAX(usable_block(logical) ? logical : BLK_SECTOR, file->align);
	info->physical_block = usable_block(physical) ? physical : BLK_SECTOR;
	info->physical_block = MAX(info->physical_block, info->logical_block);
}

/* A hole behind the end changes nothing. A device shows it at the first request. */
static bool can_punch(const struct blk_file *file, uint64_t size)
{
	off_t behind = (off_t)align_up(size, 65536);

	return file->device ||
	       fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, behind, 65536) == 0;
}

static int find_size(struct blk_image *image, struct err *err)
{
	uint64_t size = 0, rest;
	int r = blk_image_measure(&image->file, &size);

	if (r < 0)
		return err_set(err, r, "%s: %s", image->name, strerror(-r));
	rest = size & (image->info.logical_block - 1);
	image->size = size - rest;
	if (image->size == 0)
		return err_set(err, -EINVAL,
			       "%s: is empty (%" PRIu64
			       " bytes); give it a size: truncate -s 10G FILE",
			       image->name, size);
	if (rest)
		log_warn("%s: its last %" PRIu64 " bytes are no whole block of %u, the guest won't "
			 "see them",
			 image->name, rest, image->info.logical_block);
	return 0;
}

static int look_at(struct blk_image *image, const struct blk_opts *opts, bool ro, struct err *err)
{
	int r;

	find_alignment(&image->file, opts->cache);
	find_blocks(&image->file, &image->info);
	r = find_size(image, err);
	if (r < 0)
		return r;
	image->info.ro = ro;
	if (!ro && can_punch(&image->file, image->size))
		image->info.discard_granularity = image->info.physical_block;
	return 0;
}

int blk_image_open(const struct blk_opts *opts, bool ro, struct blk_image *image, struct err *err)
{
	int r;

	image->file.fd = -1;
	if (asprintf(&image->name, "%s %s", opts->what, opts->path) < 0) {
		image->name = NULL;
		return err_set(err, -ENOMEM, "%s: out of memory", opts->what);
	}
	r = check_kind(image->name, opts->path, &image->file.device, err);
	if (r == 0)
		r = open_path(opts, ro, image->name, &image->file, err);
	if (r == 0 && opts->lock)
		r = lock_image(image->file.fd, image->name, ro, err);
	if (r == 0)
		r = look_at(image, opts, ro, err);
	return r;
}

void blk_image_close(struct blk_image *image)
{
	struct flock unlock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	/* The loops may hold the file a little longer than we do. */
	if (image->file.fd >= 0)
		(void)fcntl(image->file.fd, F_OFD_SETLK, &unlock);
	image->file.fd = fd_close(image->file.fd);
	free(image->name);
	image->name = NULL;
}
