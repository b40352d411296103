/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "control/rundir.h"

/* Past the digits; NULL: there is none. */
static const char *skip_number(const char *text)
{
	const char *at = text;

	while (isdigit((unsigned char)*at))
		at++;
	return at == text ? NULL : at;
}

/* "vm-PID" and "vm-PID-N": nobody chose it, so nobody will use it again. */
static bool is_own_name(const char *name)
{
	const char *rest = strncmp(name, "vm-", 3) == 0 ? skip_number(name + 3) : NULL;

	if (rest && *rest == '-')
		rest = skip_number(rest + 1);
	return rest && !*rest;
}

static bool is_absent(int dir_fd, const char *file)
{
	struct stat st;

	return fstatat(dir_fd, file, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

/* A detached VM's directory stays for who wants its result; it has a console's log. */
static bool is_rubbish(const char *name, uint64_t age_s)
{
	_cleanup_close_ int dir_fd = -1;
	struct rundir_entry entry;
	struct stat st;
	uint64_t now = clock_ns(CLOCK_REALTIME) / NS_PER_S;

	if (rundir_find(name, &entry, &dir_fd, NULL) < 0 || entry.alive ||
	    !is_absent(dir_fd, RUNDIR_CONSOLE))
		return false;
	return fstatat(dir_fd, RUNDIR_LOCK, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (uint64_t)st.st_mtime + age_s <= now;
}

void rundir_sweep(uint64_t age_s)
{
	_cleanup_free_ struct rundir_entry *list = NULL;
	unsigned n = 0;

	if (rundir_list(&list, &n, NULL) < 0)
		return;
	for (unsigned i = 0; i < n; i++)
		/* It is asked again whether it lives, under the lock. */
		if (!list[i].alive && is_own_name(list[i].name) &&
		    is_rubbish(list[i].name, age_s) && rundir_remove_dead(list[i].name, NULL) < 0)
			continue;
}
