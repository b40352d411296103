/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory this process' cgroup allows, by cgroups(7), version 1 or 2. */
#ifndef VMM_MM_CGROUP_H
#define VMM_MM_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* The least limit, in bytes, of the memory cgroup and those above it; UINT64_MAX: none is set.
 * Opens files: before the lock-down. 0, or -errno when there is no such cgroup. */
int cgroup_memory_limit(uint64_t *ret_bytes, bool *ret_v1) must_check;

/* ---- its parts, without files ---- */

/* A limit: "max" and v1's page-rounded LONG_MAX are UINT64_MAX. 0 or -EINVAL. */
int cgroup_parse_limit(const char *text, uint64_t *ret_bytes) must_check;
/*
 * The directory of this process's memory controller, from /proc/self/cgroup: v1 where the memory
 * controller is mounted so, else v2. 0, -ENOENT when there is none, -ENOSPC.
 */
int cgroup_parse_dir(const char *text, char *ret_dir, size_t len, bool *ret_v1) must_check;

#endif
