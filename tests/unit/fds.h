/* SPDX-License-Identifier: Apache-2.0 */
/* How many descriptors this process has open, give or take the one that looks. */
#ifndef VMM_TESTS_UNIT_FDS_H
#define VMM_TESTS_UNIT_FDS_H

#include <dirent.h>

static inline unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

#endif
