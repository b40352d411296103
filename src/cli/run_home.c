/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_home.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "machine/result.h"

/* So long a killed VM without a name is shown by `vmm ps`, at least. */
enum { SWEEP_AGE_S = 3600 };

static int create(int dir_fd, const char *file, int *ret, struct err *err)
{
	int fd = openat(dir_fd, file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_set(err, -errno, "can't make %s in the state directory: %s", file,
			       strerror(errno));
	*ret = fd;
	return 0;
}

static int write_config(int dir_fd, const struct vm_config *config, struct err *err)
{
	_cleanup_free_ char *text = config_to_json(config);
	_cleanup_close_ int fd = -1;
	int r = create(dir_fd, RUNDIR_CONFIG, &fd, err);

	if (r < 0)
		return r;
	r = text ? fd_write_full(fd, text, strlen(text)) : -ENOMEM;
	return r < 0 ? err_set(err, r, "can't write " RUNDIR_CONFIG ": %s", strerror(-r)) : 0;
}

static int fill(struct run_home *home, const struct vm_config *config, struct err *err)
{
	int dir_fd = home->rundir.dir_fd;
	int r = write_config(dir_fd, config, err);

	if (r == 0)
		r = create(dir_fd, RUNDIR_RESULT, &home->result_fd, err);
	if (r < 0)
		return r;
	r = result_write_lost(home->result_fd);
	return r < 0 ? err_set(err, r, "can't write " RUNDIR_RESULT ": %s", strerror(-r)) : 0;
}

static int name_it(struct vm_config *config, const char *name)
{
	if (config->name)
		return 0;
	if (name)
		config->name = strdup(name);
	else if (asprintf(&config->name, "vm-%d", (int)getpid()) < 0)
		config->name = NULL;
	return config->name ? 0 : -ENOMEM;
}

/* The directory, named and filled. */
static int make_directory(struct run_home *home, struct vm_config *config, struct err *err)
{
	bool own_name = !config->name;
	int r = rundir_claim(config->name, &home->rundir, err);

	if (r < 0)
		return r;
	home->claimed = true;
	if (name_it(config, home->rundir.name) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	if (own_name)
		rundir_sweep(SWEEP_AGE_S);
	return fill(home, config, err);
}

static void remove_directory(struct run_home *home)
{
	home->result_fd = fd_close(home->result_fd);
	if (home->claimed)
		rundir_remove(&home->rundir);
	rundir_release(&home->rundir);
	home->claimed = false;
}

/* A name that is taken is an error whatever was asked for. */
static int claim(struct run_home *home, struct vm_config *config, struct err *err)
{
	struct err why = {0};
	int r;

	if (config->control == CONFIG_CONTROL_OFF)
		return 0;
	r = make_directory(home, config, &why);
	if (r == 0)
		return 0;
	remove_directory(home);
	if (r != -EEXIST && config->control == CONFIG_CONTROL_AUTO && !home->keep) {
		log_info("no state directory and no control socket: %s", why.msg);
		return 0;
	}
	return err_set(err, r, "%s", why.msg);
}

/*
 * The file is locked as long as we live, so that of two VMs only one can have it, and left alone
 * until there is a process id to write. -EWOULDBLOCK: somebody else has it.
 */
static int lock_pidfile(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -EWOULDBLOCK : 0;
}

static int open_pidfile(struct run_home *home, const char *path, struct err *err)
{
	int fd, r;

	if (!path)
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
	if (fd < 0)
		return err_set(err, -errno, "--pidfile %s: %s", path,
			       errno == ELOOP ? "is a symbolic link" : strerror(errno));
	r = lock_pidfile(fd);
	if (r < 0) {
		(void)fd_close(fd);
		return err_set(err, r, "--pidfile %s: %s", path,
			       r == -EWOULDBLOCK ? "belongs to another VM that runs"
			       : r == -EINVAL	 ? "is not a regular file"
						 : strerror(-r));
	}
	home->pidfile_fd = fd;
	home->pidfile = path;
	return 0;
}

int run_home_make(struct run_home *home, struct vm_config *config, bool keep, struct err *err)
{
	int r;

	home->keep = keep;
	r = claim(home, config, err);
	if (r == 0 && name_it(config, NULL) < 0)
		r = err_set(err, -ENOMEM, "out of memory");
	return r < 0 ? r : open_pidfile(home, config->pidfile, err);
}

void run_home_paths(struct run_home *home, const char *ret[RUN_HOME_PATHS + 1])
{
	unsigned n = 0;

	if (home->claimed) {
		/* The files in it, and then itself. */
		(void)snprintf(home->paths[0], RUNDIR_PATH_LEN, "%.4000s/" RUNDIR_LOCK,
			       home->rundir.path);
		(void)snprintf(home->paths[1], RUNDIR_PATH_LEN, "%.4000s/", home->rundir.path);
		ret[n++] = home->paths[0];
		ret[n++] = home->paths[1];
	}
	if (home->pidfile)
		ret[n++] = home->pidfile;
	ret[n] = NULL;
}

void run_home_write_pid(struct run_home *home)
{
	if (home->pidfile_fd < 0)
		return;
	home->pid_written = true;
	if (ftruncate(home->pidfile_fd, 0) < 0 ||
	    dprintf(home->pidfile_fd, "%d\n", (int)getpid()) < 0)
		log_error("--pidfile %s: can't write: %s", home->pidfile, strerror(errno));
}

/* Only a file that has our number, and that nobody has replaced since. */
static void remove_pidfile(struct run_home *home)
{
	struct stat ours, there;

	if (home->pid_written && fstat(home->pidfile_fd, &ours) == 0 &&
	    fstatat(AT_FDCWD, home->pidfile, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    ours.st_dev == there.st_dev && ours.st_ino == there.st_ino &&
	    unlinkat(AT_FDCWD, home->pidfile, 0) < 0)
		log_warn("--pidfile %s: can't remove: %s", home->pidfile, strerror(errno));
	home->pidfile = NULL;
	home->pidfile_fd = fd_close(home->pidfile_fd);
}

void run_home_discard(struct run_home *home)
{
	home->keep = false;
}

void run_home_leave(struct run_home *home)
{
	if (home->pidfile)
		remove_pidfile(home);
	if (!home->keep)
		remove_directory(home);
	home->result_fd = fd_close(home->result_fd);
	rundir_release(&home->rundir);
	home->claimed = false;
}
