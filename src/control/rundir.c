/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"

#define BASE_LOCK ".lock"

/* BASE, opened and checked. */
struct base {
	char *path;
	int fd, lock_fd;
};

/* All that vmm puts there, but for the lock, which goes last. */
static const char *const known_files[] = {
	RUNDIR_SOCKET, RUNDIR_FD_SOCKET, RUNDIR_CONFIG,	     RUNDIR_RESULT,
	RUNDIR_LOG,    RUNDIR_CONSOLE,	 RUNDIR_CONSOLE_OLD,
};

DEFINE_CLEANUP(DIR *, closedir);

/* ---- locks ---- */

static int lock_op(int fd, int cmd, short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET};
	int r;

	do {
		r = fcntl(fd, cmd, &lock);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* 1: somebody holds it; 0: nobody; or -errno. */
static int query_lock(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return -errno;
	return lock.l_type != F_UNLCK;
}

static pid_t read_pid(int lock_fd)
{
	char text[24] = "";
	uint64_t pid;
	char *end;

	if (pread(lock_fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	end = strchr(text, '\n');
	if (!end)
		return 0;
	*end = '\0';
	return text_parse_uint(text, &pid) == 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

/* The descriptor or -errno. -ENOENT: there is nothing that a living VM could hold. */
static int open_lock(int dir_fd)
{
	int fd = openat(dir_fd, RUNDIR_LOCK, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/* ---- BASE ---- */

/* What others can write to may have been laid out by them. */
static int check_directory(int fd, const char *shown, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "%s: %s", shown, strerror(errno));
	if (st.st_uid != geteuid())
		return err_set(err, -EPERM,
			       "%s belongs to another user (id %u), so vmm does not use it", shown,
			       st.st_uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return err_set(err, -EPERM,
			       "%s can be written to by others (mode %03o), so vmm does not use "
			       "it; `chmod 700` it",
			       shown, st.st_mode & 0777U);
	return 0;
}

/* The descriptor, or -errno; -ENOENT without a message. */
static int open_directory(int at, const char *name, const char *shown, struct err *err)
{
	_cleanup_close_ int fd =
		openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	int r;

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return err_set(err, -ENOTDIR, "%s is not a directory; remove it", shown);
	if (fd < 0)
		return err_set(err, -errno, "%s: %s", shown, strerror(errno));
	r = check_directory(fd, shown, err);
	return r < 0 ? r : TAKE_FD(fd);
}

static void base_done(struct base *base)
{
	free(base->path);
	base->lock_fd = fd_close(base->lock_fd);
	base->fd = fd_close(base->fd);
}

static int open_base_at(struct base *base, bool make, struct err *err)
{
	if (make && mkdir(base->path, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "%s: can't make this directory: %s", base->path,
			       strerror(errno));
	base->fd = open_directory(AT_FDCWD, base->path, base->path, err);
	if (base->fd < 0)
		return base->fd == -ENOENT && !make
			       ? 1
			       : err_set(err, base->fd, "%s: %s", base->path, strerror(-base->fd));
	base->lock_fd =
		openat(base->fd, BASE_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (base->lock_fd < 0)
		return err_set(err, -errno, "%s/" BASE_LOCK ": %s", base->path, strerror(errno));
	return 0;
}

/* Opens BASE and takes its lock, F_WRLCK or F_RDLCK; 1: there is no BASE and it is not to be made.
 * base_done() in every case, which gives up the lock too. */
static int base_open(struct base *base, bool make, short lock, struct err *err)
{
	int r;

	*base = (struct base){.path = malloc(RUNDIR_PATH_LEN), .fd = -1, .lock_fd = -1};
	if (!base->path)
		return err_set(err, -ENOMEM, "out of memory");
	r = rundir_base(base->path, err);
	if (r == 0)
		r = open_base_at(base, make, err);
	if (r != 0)
		return r;
	r = lock_op(base->lock_fd, F_OFD_SETLKW, lock);
	return r < 0 ? err_set(err, r, "%s/" BASE_LOCK ": can't lock: %s", base->path, strerror(-r))
		     : 0;
}

/* ---- one directory ---- */

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

static bool is_name(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n >= RUNDIR_NAME_LEN || *name == '.' || *name == '-')
		return false;
	for (; *name; name++)
		if (!is_name_char(*name))
			return false;
	return true;
}

static int open_vm_dir(const struct base *base, const char *name, struct err *err)
{
	_cleanup_free_ char *shown = NULL;

	if (asprintf(&shown, "%s/%s", base->path, name) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	return open_directory(base->fd, name, shown, err);
}

/* What is not known to be dead counts as alive. */
static void set_unknown(const char *name, struct rundir_entry *ret)
{
	*ret = (struct rundir_entry){.alive = true};
	(void)snprintf(ret->name, sizeof(ret->name), "%.*s", RUNDIR_NAME_LEN - 1, name);
}

/* Sets *ret in every case. */
static int probe(int dir_fd, const char *name, struct rundir_entry *ret, struct err *err)
{
	_cleanup_close_ int lock_fd = open_lock(dir_fd);
	int r = lock_fd < 0 ? lock_fd : query_lock(lock_fd);

	set_unknown(name, ret);
	if (lock_fd >= 0)
		ret->pid = read_pid(lock_fd);
	ret->alive = r != 0 && lock_fd != -ENOENT;
	if (r < 0 && r != -ENOENT)
		return err_set(err, r, "can't tell whether the VM \"%s\" runs: its lock: %s", name,
			       strerror(-r));
	return 0;
}

int rundir_look(int dir_fd, const char *name, struct rundir_entry *ret, struct err *err)
{
	return probe(dir_fd, name, ret, err);
}

static void remove_files(int dir_fd)
{
	for (size_t i = 0; i < ARRAY_SIZE(known_files); i++)
		(void)unlinkat(dir_fd, known_files[i], 0);
	(void)unlinkat(dir_fd, RUNDIR_LOCK, 0);
}

/* Under the base lock. -EEXIST: it lives; -ENOTEMPTY: files that are not vmm's stay there. Both
 * without a message. */
static int clear_name(const struct base *base, const char *name, struct rundir_entry *entry,
		      struct err *err)
{
	_cleanup_close_ int dir_fd = open_vm_dir(base, name, err);
	int r;

	if (dir_fd < 0)
		return dir_fd;
	r = probe(dir_fd, name, entry, err);
	if (r < 0)
		return r;
	if (entry->alive)
		return -EEXIST;
	remove_files(dir_fd);
	if (unlinkat(base->fd, name, AT_REMOVEDIR) == 0)
		return 0;
	return errno == ENOTEMPTY ? -ENOTEMPTY
				  : err_set(err, -errno, "%s/%s: can't remove: %s", base->path,
					    name, strerror(errno));
}

/* The new directory, with its lock held. The lock file is a new one even where the directory is
 * not, so that who waits for the dead VM does not wait for this one. */
static int make_directory(const struct base *base, struct rundir *rd, struct err *err)
{
	int r;

	if (mkdirat(base->fd, rd->name, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "%s: can't make this directory: %s", rd->path,
			       strerror(errno));
	rd->dir_fd = open_vm_dir(base, rd->name, err);
	if (rd->dir_fd < 0)
		return err_set(err, rd->dir_fd, "%s: %s", rd->path, strerror(-rd->dir_fd));
	rd->lock_fd = openat(rd->dir_fd, RUNDIR_LOCK,
			     O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (rd->lock_fd < 0)
		return err_set(err, -errno, "%s/" RUNDIR_LOCK ": %s", rd->path, strerror(errno));
	r = lock_op(rd->lock_fd, F_OFD_SETLK, F_WRLCK);
	return r < 0 ? err_set(err, r, "%s/" RUNDIR_LOCK ": can't lock: %s", rd->path, strerror(-r))
		     : rundir_write_pid(rd, err);
}

/* Of a name that is free by now. */
static int take_name(const struct base *base, const char *name, struct rundir *rd, struct err *err)
{
	int r;

	(void)snprintf(rd->name, sizeof(rd->name), "%s", name);
	if (snprintf(rd->path, sizeof(rd->path), "%s/%s", base->path, name) >= RUNDIR_PATH_LEN)
		return err_set(err, -ENAMETOOLONG, "the path %s/%s is too long", base->path, name);
	r = make_directory(base, rd, err);
	if (r < 0 && rd->dir_fd >= 0)
		remove_files(rd->dir_fd);
	if (r < 0)
		(void)unlinkat(base->fd, name, AT_REMOVEDIR);
	return r;
}

/* Under the base lock. */
static int claim_name(const struct base *base, const char *name, struct rundir *rd, struct err *err)
{
	struct rundir_entry old;
	int r = clear_name(base, name, &old, err);

	if (r == -EEXIST)
		return err_set(err, r,
			       "a VM named \"%s\" is running (process %d): choose another --name, "
			       "or stop it by `vmm stop %s`",
			       name, (int)old.pid, name);
	if (r < 0 && r != -ENOENT && r != -ENOTEMPTY)
		return r;
	return take_name(base, name, rd, err);
}

/* 1: it is taken, by a living one or by what a dead one left. */
static int claim_free_name(const struct base *base, const char *name, struct rundir *rd,
			   struct err *err)
{
	struct stat st;

	if (fstatat(base->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	if (errno != ENOENT)
		return err_set(err, -errno, "%s/%s: %s", base->path, name, strerror(errno));
	return take_name(base, name, rd, err);
}

/* A process id may come again while a detached VM still has its name from it, or has left a result
 * under it that somebody wants to read. */
static int claim_own_name(const struct base *base, struct rundir *rd, struct err *err)
{
	enum { TRIES = 10000 };
	char name[RUNDIR_NAME_LEN];
	int r = 1;

	for (unsigned i = 1; i <= TRIES && r == 1; i++) {
		(void)snprintf(name, sizeof(name), "vm-%d", (int)getpid());
		if (i > 1)
			(void)snprintf(name, sizeof(name), "vm-%d-%u", (int)getpid(), i);
		r = claim_free_name(base, name, rd, err);
	}
	return r == 1 ? err_set(err, -EEXIST,
				"all names up to \"%s\" are taken: choose a --name, or remove what "
				"dead VMs left by `vmm rm --dead`",
				name)
		      : r;
}

int rundir_claim(const char *name, struct rundir *ret, struct err *err)
{
	_cleanup_free_ struct rundir *rd = malloc(sizeof(*rd)); /* large for a stack */
	struct base base;
	int r;

	if (!rd)
		return err_set(err, -ENOMEM, "out of memory");
	if (name && !is_name(name))
		return err_set(err, -EINVAL,
			       "\"%s\" can't be the name of a VM: letters, digits and ._-, not "
			       "beginning with . or -, %d at most",
			       name, RUNDIR_NAME_LEN - 1);
	*rd = RUNDIR_NONE;
	r = base_open(&base, true, F_WRLCK, err);
	if (r == 0)
		r = name ? claim_name(&base, name, rd, err) : claim_own_name(&base, rd, err);
	if (r == 0) {
		(void)lock_op(base.lock_fd, F_OFD_SETLK, F_UNLCK);
		rd->base_fd = TAKE_FD(base.fd);
		rd->base_lock_fd = TAKE_FD(base.lock_fd);
		*ret = *rd;
	} else {
		rundir_release(rd);
	}
	base_done(&base);
	return r;
}

/* Written over the old one and then cut: a reader at any moment sees a line. */
int rundir_write_pid(const struct rundir *rd, struct err *err)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (pwrite(rd->lock_fd, text, (size_t)n, 0) != n || ftruncate(rd->lock_fd, n) < 0)
		return err_set(err, -EIO, "%s/" RUNDIR_LOCK ": can't write the process id",
			       rd->path);
	return 0;
}

void rundir_remove(struct rundir *rd)
{
	if (rd->dir_fd < 0 || lock_op(rd->base_lock_fd, F_OFD_SETLKW, F_WRLCK) < 0)
		return;
	remove_files(rd->dir_fd);
	/* Only when it is empty: what somebody else put there is not lost, and a directory that is
	 * another VM's by now (after an `rm -r` by hand) has that one's lock in it. */
	(void)unlinkat(rd->base_fd, rd->name, AT_REMOVEDIR);
	(void)lock_op(rd->base_lock_fd, F_OFD_SETLK, F_UNLCK);
}

void rundir_release(struct rundir *rd)
{
	rd->dir_fd = fd_close(rd->dir_fd);
	rd->lock_fd = fd_close(rd->lock_fd);
	rd->base_lock_fd = fd_close(rd->base_lock_fd);
	rd->base_fd = fd_close(rd->base_fd);
}

/* ---- from outside ---- */

static int compare_entries(const void *a, const void *b)
{
	const struct rundir_entry *left = a, *right = b;

	return strcmp(left->name, right->name);
}

static int add_entry(struct rundir_entry **list, unsigned n, const struct base *base,
		     const char *name)
{
	_cleanup_close_ int dir_fd = open_vm_dir(base, name, NULL);
	struct rundir_entry *more;

	/* No VM's, or not to be trusted. */
	if (dir_fd == -ENOENT || dir_fd == -ENOTDIR || dir_fd == -EPERM)
		return 0;
	more = realloc(*list, (n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	if (dir_fd < 0)
		set_unknown(name, &more[n]);
	else
		(void)probe(dir_fd, name, &more[n], NULL);
	*list = more;
	return 1;
}

static int list_base(const struct base *base, struct rundir_entry **list, unsigned *n)
{
	int fd = openat(base->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(closedir_cleanup) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *item;
	int r = 0;

	if (!dir) {
		r = -errno;
		(void)fd_close(fd);
		return r;
	}
	while (r >= 0 && (item = readdir(dir)) != NULL) {
		if (!is_name(item->d_name))
			continue;
		r = add_entry(list, *n, base, item->d_name);
		*n += r > 0;
	}
	return r < 0 ? r : 0;
}

int rundir_list(struct rundir_entry **ret, unsigned *ret_n, struct err *err)
{
	_cleanup_free_ struct rundir_entry *list = NULL;
	unsigned n = 0;
	struct base base;
	/* The lock is shared: nobody is seen half-way through a claim. */
	int r = base_open(&base, false, F_RDLCK, err);

	if (r == 0) {
		r = list_base(&base, &list, &n);
		if (r < 0)
			(void)err_set(err, r, "%s: %s", base.path, strerror(-r));
	}
	base_done(&base);
	if (r < 0)
		return r;
	if (n > 0)
		qsort(list, n, sizeof(*list), compare_entries);
	*ret = TAKE_PTR(list);
	*ret_n = n;
	return 0;
}

/* The message for a name that is not there. */
static int not_found(const char *name, struct err *err)
{
	_cleanup_free_ struct rundir_entry *list = NULL;
	_cleanup_free_ const char **names = NULL;
	const char *near = NULL;
	unsigned n = 0;

	if (rundir_list(&list, &n, NULL) == 0 && n > 0)
		names = calloc(n, sizeof(*names));
	for (unsigned i = 0; names && i < n; i++)
		names[i] = list[i].name;
	if (names)
		near = text_nearest(name, names, n);
	if (near)
		return err_set(err, -ENOENT, "there is no VM named \"%s\", did you mean \"%s\"?",
			       name, near);
	return err_set(err, -ENOENT, "there is no VM named \"%s\"; `vmm ps` lists them", name);
}

int rundir_find(const char *name, struct rundir_entry *ret, int *ret_dir_fd, struct err *err)
{
	struct base base;
	int r = is_name(name) ? base_open(&base, false, F_RDLCK, err) : 1, dir_fd = -1;

	if (r == 0) {
		dir_fd = open_vm_dir(&base, name, err);
		r = dir_fd < 0 ? dir_fd : 0;
	}
	if (r == 0)
		(void)probe(dir_fd, name, ret, NULL);
	if (is_name(name))
		base_done(&base);
	if (r == 1 || (r == -ENOENT && !(err && err->code)))
		return not_found(name, err);
	if (r == 0 && ret_dir_fd)
		*ret_dir_fd = TAKE_FD(dir_fd);
	(void)fd_close(dir_fd);
	return r;
}

/* The lock is asked and not the process whose id is in the file: that may be of another PID
 * namespace, and a fork may hold the lock on. At first often, for what ends at once. */
static void nap(uint64_t passed_ns, uint64_t most_ns)
{
	const uint64_t shortest = NS_PER_MS, longest = 20 * NS_PER_MS;
	uint64_t ns = MIN(MAX(passed_ns / 8, shortest), longest);
	struct timespec ts = {.tv_nsec = (long)MIN(ns, most_ns)};

	(void)ppoll(NULL, 0, &ts, NULL);
}

int rundir_wait_dead(int dir_fd, uint64_t timeout_ns, struct err *err)
{
	_cleanup_close_ int lock_fd = open_lock(dir_fd);
	uint64_t start = clock_now_ns();

	if (lock_fd == -ENOENT)
		return 0;
	for (;;) {
		int r = lock_fd < 0 ? lock_fd : query_lock(lock_fd);
		uint64_t passed = clock_now_ns() - start;

		if (r == 0)
			return 0;
		if (r < 0)
			return err_set(err, r, RUNDIR_LOCK ": %s", strerror(-r));
		if (timeout_ns && passed >= timeout_ns)
			return err_set(err, -ETIMEDOUT, "the VM did not end in time");
		nap(passed, timeout_ns ? timeout_ns - passed : UINT64_MAX);
	}
}

/* Says which file it is that keeps a directory from being removed. */
static int not_empty(const struct base *base, const char *name, struct err *err)
{
	int fd = open_vm_dir(base, name, NULL);
	_cleanup_(closedir_cleanup) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *item;

	if (!dir)
		(void)fd_close(fd);
	while (dir && (item = readdir(dir)) != NULL)
		if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0)
			return err_set(err, -ENOTEMPTY,
				       "%s/%s/%s is not vmm's, so it is left alone; remove it "
				       "and try again",
				       base->path, name, item->d_name);
	return err_set(err, -ENOTEMPTY, "%s/%s is not empty", base->path, name);
}

int rundir_remove_dead(const char *name, struct err *err)
{
	struct rundir_entry entry;
	struct base base;
	int r;

	if (!is_name(name))
		return not_found(name, err);
	r = base_open(&base, false, F_WRLCK, err);
	if (r == 0)
		r = clear_name(&base, name, &entry, err);
	if (r == -EEXIST)
		r = err_set(err, -EBUSY, "the VM \"%s\" is running (process %d)", name,
			    (int)entry.pid);
	else if (r == -ENOTEMPTY)
		r = not_empty(&base, name, err);
	base_done(&base);
	return r == 1 || (r == -ENOENT && !(err && err->code)) ? not_found(name, err) : r;
}
