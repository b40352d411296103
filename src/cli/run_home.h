/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run leaves on the host for others to find: its state directory with configuration and
 * result, and the file of --pidfile. All made before the lock-down and taken away after it.
 */
#ifndef VMM_CLI_RUN_HOME_H
#define VMM_CLI_RUN_HOME_H

#include <stdbool.h>

#include "base/compiler.h"
#include "base/err.h"
#include "config/config.h"
#include "control/rundir.h"

struct run_home {
	struct rundir rundir;
	bool claimed;	/* there is a state directory */
	bool keep;	/* it outlives the run */
	int result_fd;	/* result.json in it; -1: none */
	int pidfile_fd; /* locked; -1: none */
	bool pid_written;
	const char *pidfile;
	char paths[2][RUNDIR_PATH_LEN]; /* for the sandbox */
};
#define RUN_HOME_NONE ((struct run_home){.rundir = RUNDIR_NONE, .result_fd = -1, .pidfile_fd = -1})

/*
 * Makes it all and gives the VM its name if it has none. keep: the directory stays after the end.
 * With `control: auto` a directory that can't be made is no error but a line in the log. 0 or
 * -errno with a message.
 */
int run_home_make(struct run_home *home, struct vm_config *config, bool keep,
		  struct err *err) must_check;
/* What may be removed after the lock-down: at most RUN_HOME_PATHS, NULL-terminated. Borrowed. */
enum { RUN_HOME_PATHS = 3 };
void run_home_paths(struct run_home *home, const char *ret[RUN_HOME_PATHS + 1]);
/* The guest is about to run. */
void run_home_write_pid(struct run_home *home);
/* It goes away at the end after all. */
void run_home_discard(struct run_home *home);
/* The end: goes away, or stays as that of a dead VM. */
void run_home_leave(struct run_home *home);

#endif
