/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/runtime_dir.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char runtime_dir[64];

void runtime_dir_make(void)
{
	(void)strcpy(runtime_dir, "/tmp/runtime-XXXXXX");
	cr_assert_not_null(mkdtemp(runtime_dir));
	cr_assert_eq(setenv("XDG_RUNTIME_DIR", runtime_dir, 1), 0);
}

void runtime_dir_remove(void)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf %s", runtime_dir);
	cr_assert_eq(system(command), 0);
}
