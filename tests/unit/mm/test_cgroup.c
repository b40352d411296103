/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>

#include "mm/cgroup.h"

Test(limit, number_and_the_two_spellings_of_none)
{
	uint64_t bytes;

	cr_assert_eq(cgroup_parse_limit("1073741824\n", &bytes), 0);
	cr_assert_eq(bytes, UINT64_C(1) << 30);
	cr_assert_eq(cgroup_parse_limit("max\n", &bytes), 0);
	cr_assert_eq(bytes, UINT64_MAX);
	cr_assert_eq(cgroup_parse_limit("9223372036854771712\n", &bytes), 0);
	cr_assert_eq(bytes, UINT64_MAX);
	cr_assert_eq(cgroup_parse_limit("plenty", &bytes), -EINVAL);
}

Test(cgroup, version_2_has_one_line_without_controllers)
{
	char dir[64];
	bool v1 = true;

	cr_assert_eq(cgroup_parse_dir("0::/user.slice/a\n", dir, sizeof(dir), &v1), 0);
	cr_assert_str_eq(dir, "/sys/fs/cgroup/user.slice/a");
	cr_assert_not(v1);
}

Test(cgroup, memory_controller_of_version_1_wins)
{
	char dir[64];
	bool v1 = false;

	cr_assert_eq(cgroup_parse_dir("9:name=systemd:/x\n4:cpu,memory:/jobs\n0::/\n", dir,
				      sizeof(dir), &v1),
		     0);
	cr_assert_str_eq(dir, "/sys/fs/cgroup/memory/jobs");
	cr_assert(v1);
}

Test(cgroup, none_malformed_or_too_long_is_refused)
{
	char dir[20];
	bool v1;

	cr_assert_eq(cgroup_parse_dir("", dir, sizeof(dir), &v1), -ENOENT);
	cr_assert_eq(cgroup_parse_dir("4:cpuset\n5\n::", dir, 1, &v1), -ENOSPC);
	cr_assert_eq(cgroup_parse_dir("4:cpuset:/\n", dir, sizeof(dir), &v1), -ENOENT);
	cr_assert_eq(cgroup_parse_dir("0::/far/too/long\n", dir, sizeof(dir), &v1), -ENOSPC);
}
