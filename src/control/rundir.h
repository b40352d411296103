/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state directory of a VM: BASE/NAME with its control sockets, process id, logs and result.
 * BASE is $XDG_RUNTIME_DIR/vmm, or /run/vmm for root.
 *
 * A VM lives as long as it holds the lock on NAME/lock (an open file description lock, so that it
 * goes with the process however that ends, and a fork takes it along). Making and removing
 * directories happens under the lock on BASE/.lock, which is held for a moment only. So a live name
 * is never taken over, and what a dead VM left is replaced by the next one of its name.
 *
 * No state but on the file system; used by `vmm run` before the lock-down, and by the commands that
 * look at VMs from outside. Main thread.
 */
#ifndef VMM_CONTROL_RUNDIR_H
#define VMM_CONTROL_RUNDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "base/err.h"

/* Files in a state directory. */
#define RUNDIR_LOCK	   "lock" /* its text: the process id and a newline */
#define RUNDIR_SOCKET	   "control.sock"
#define RUNDIR_FD_SOCKET   "fd.sock"
#define RUNDIR_CONFIG	   "config.json" /* the configuration that it was started with */
#define RUNDIR_RESULT	   "result.json"
#define RUNDIR_LOG	   "vmm.log"	 /* of a detached VM */
#define RUNDIR_CONSOLE	   "console.log" /* of a detached VM */
#define RUNDIR_CONSOLE_OLD "console.log.1"

enum { RUNDIR_PATH_LEN = 4096, RUNDIR_NAME_LEN = 64 };

/* BASE for this user, not made yet. 0, or -ENOENT with a message when there is none: not root and
 * no absolute $XDG_RUNTIME_DIR. Root's own $XDG_RUNTIME_DIR counts too; one that belongs to another
 * user (after `su`) does not. buf has RUNDIR_PATH_LEN bytes. */
int rundir_base(char *buf, struct err *err) must_check;

struct rundir {
	char name[RUNDIR_NAME_LEN];
	char path[RUNDIR_PATH_LEN];
	int base_fd, dir_fd; /* directories, close-on-exec */
	int lock_fd;	     /* holds the lock */
	int base_lock_fd;    /* BASE/.lock, unlocked; for rundir_remove() */
};
#define RUNDIR_NONE                                                                                \
	((struct rundir){.base_fd = -1, .dir_fd = -1, .lock_fd = -1, .base_lock_fd = -1})

/*
 * Makes BASE (mode 0700) and BASE/NAME and locks it; what a dead VM of that name left is removed
 * first, files that are not vmm's excepted. name NULL: "vm-PID", or the first of "vm-PID-2",
 * "vm-PID-3"... that is not there, neither of a living VM nor of a dead one. The name is made of
 * letters, digits and ._- and begins with neither . nor -. 0, or -EEXIST when a VM of that name
 * lives (the message has its process id and says to choose another --name or to stop it), or
 * another -errno with a message; also when it can't be told whether one lives, and then nothing was
 * removed. BASE must belong to this user and nobody else may write to it.
 */
int rundir_claim(const char *name, struct rundir *ret, struct err *err) must_check;
/* Writes this process' id into the lock file: again after a fork. */
int rundir_write_pid(const struct rundir *rd, struct err *err) must_check;
/*
 * Removes the known files and then the directory, under the base lock, while its own lock is still
 * held. By the descriptors above only, so it works in a locked-down process that may still unlink
 * there.
 */
void rundir_remove(struct rundir *rd);
/* Closes the descriptors: the VM counts as dead from now on. */
void rundir_release(struct rundir *rd);

/*
 * Removes what VMs in the foreground without a name of their own left when they were killed, if
 * they began age_s seconds ago or earlier: nobody will use their names again. What can't be removed
 * stays.
 */
void rundir_sweep(uint64_t age_s);

/* ---- from outside ---- */

struct rundir_entry {
	char name[RUNDIR_NAME_LEN];
	pid_t pid;  /* as written in the lock file, maybe of another PID namespace; 0: none */
	bool alive; /* or it can't be told, and then pid may be 0 */
};

/* All VMs of this user by name, malloc()ed. No BASE is an empty list. */
int rundir_list(struct rundir_entry **ret, unsigned *ret_n, struct err *err) must_check;
/* One VM. -ENOENT with a message that has the nearest name. ret_dir_fd may be NULL. */
int rundir_find(const char *name, struct rundir_entry *ret, int *ret_dir_fd,
		struct err *err) must_check;
/* The VM of this directory, as it is now; name is only copied. -errno with a message when it can't
 * be told whether it lives. *ret is set in both cases. */
int rundir_look(int dir_fd, const char *name, struct rundir_entry *ret, struct err *err) must_check;
/* Waits until the VM of this directory is dead, that is, until nobody holds its lock; timeout_ns 0:
 * for ever. 0, -ETIMEDOUT while it lives, another -errno when that can't be told. */
int rundir_wait_dead(int dir_fd, uint64_t timeout_ns, struct err *err) must_check;
/* A pidfd, close-on-exec, of the process that listens on the control socket, and its id in our PID
 * namespace; the process may stand still. -errno with a message; -ESRCH when it is gone or not in
 * our namespace, -ETIMEDOUT as rundir_connect(). */
int rundir_open_process(int dir_fd, pid_t *ret_pid, struct err *err) must_check;
/* Removes what a dead VM left. -EBUSY with a message when it lives; -ENOTEMPTY with the name of a
 * file that is not vmm's, which stays; another -errno when it can't be told whether it lives, and
 * then all stays. */
int rundir_remove_dead(const char *name, struct err *err) must_check;
/* A regular file of the directory, for reading: the descriptor or -errno. No symbolic link. */
int rundir_open(int dir_fd, const char *file) must_check;
/* A file of the directory, whole, malloc()ed and 0-terminated; at most max bytes, of a longer one
 * the end. 0 or -errno. */
int rundir_read(int dir_fd, const char *file, size_t max, char **ret) must_check;
/* The same of an open one: it may be unlinked since. */
int rundir_read_fd(int fd, size_t max, char **ret) must_check;
/* A connected stream socket to a socket in the directory, close-on-exec and blocking; no limit on
 * the length of the path. -errno; -ETIMEDOUT when its queue stays full for 5 s. */
int rundir_connect(int dir_fd, const char *file) must_check;
/* A listening one, non-blocking, close-on-exec, mode 0600. Changes the umask for a moment: before
 * there are threads. */
int rundir_listen(int dir_fd, const char *file) must_check;

#endif
