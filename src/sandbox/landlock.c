/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "sandbox/sandbox.h"

/*
 * The interface of Landlock's ABI 1 to 6 (Linux 5.13 to 6.12), spelled out: the headers of the
 * system that builds vmm may be older than the kernel that runs it. Values as in
 * Documentation/userspace-api/landlock.rst.
 */
struct ruleset_attr {
	uint64_t fs;	 /* rights handled, so denied unless a rule allows them */
	uint64_t net;	 /* ABI 4 */
	uint64_t scoped; /* ABI 6 */
};

struct path_attr {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

enum { RULESET_VERSION = 1 };
enum { RULE_PATH_BENEATH = 1 };

#define FS_READ_FILE   UINT64_C(0x4)
#define FS_READ_DIR    UINT64_C(0x8)
#define FS_REMOVE_DIR  UINT64_C(0x10)
#define FS_REMOVE_FILE UINT64_C(0x20)

#define FS_ALL_ABI1 UINT64_C(0x1fff)
#define FS_ALL_ABI2 UINT64_C(0x3fff) /* + linking and renaming across directories */
#define FS_ALL_ABI3 UINT64_C(0x7fff) /* + truncation */
#define FS_ALL_ABI5 UINT64_C(0xffff) /* + ioctl on device files */
#define NET_TCP	    UINT64_C(0x3)    /* bind, connect */
#define SCOPE_ALL   UINT64_C(0x3)    /* abstract unix sockets, signals */

/* What each ABI added, newest first. Later ones than ours add nothing that we know of. */
static const struct abi_rights {
	int abi;
	struct ruleset_attr attr;
	size_t size; /* of the struct as that kernel knows it */
} abi_rights[] = {
	{6, {FS_ALL_ABI5, NET_TCP, SCOPE_ALL}, 24},
	{5, {FS_ALL_ABI5, NET_TCP, 0}, 16},
	{4, {FS_ALL_ABI3, NET_TCP, 0}, 16},
	{3, {FS_ALL_ABI3, 0, 0}, 8},
	{2, {FS_ALL_ABI2, 0, 0}, 8},
	{1, {FS_ALL_ABI1, 0, 0}, 8},
};

int sandbox_landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, RULESET_VERSION);

	return abi > 0 ? (int)abi : 0;
}

static const struct abi_rights *rights_of(int abi)
{
	for (size_t i = 0; i < ARRAY_SIZE(abi_rights); i++) {
		if (abi >= abi_rights[i].abi)
			return &abi_rights[i];
	}
	return NULL;
}

/* Allows `rights`, as far as this ABI handles them, on the directory `dir` and below. */
static int allow_beneath(int ruleset, const struct abi_rights *abi, const char *dir,
			 uint64_t rights)
{
	_cleanup_close_ int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct path_attr rule = {rights & abi->attr.fs, fd};

	if (fd < 0)
		return -errno;
	if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) != 0)
		return -errno;
	return 0;
}

/*
 * What is to be removed can only be named by the directory it is in; nothing is opened or made
 * there any more. "DIR/" is a directory to be removed, "FILE" a file.
 */
static int allow_unlink(int ruleset, const struct abi_rights *abi, const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	uint64_t right = FS_REMOVE_FILE;
	char *slash;

	if (!copy)
		return -ENOMEM;
	slash = strrchr(copy, '/');
	if (slash && slash[1] == '\0') {
		right = FS_REMOVE_DIR;
		*slash = '\0';
		slash = strrchr(copy, '/');
	}
	if (!slash)
		return allow_beneath(ruleset, abi, ".", right);
	*(slash == copy ? slash + 1 : slash) = '\0';
	return allow_beneath(ruleset, abi, copy, right);
}

static int allow_unlinks(int ruleset, const struct abi_rights *abi, const char *const *paths,
			 struct err *err)
{
	for (; paths && *paths; paths++) {
		int ret = allow_unlink(ruleset, abi, *paths);

		if (ret < 0)
			return err_set(err, ret,
				       "sandbox: can't allow the removal of %s at the end: its "
				       "directory: %s",
				       *paths, strerror(-ret));
	}
	return 0;
}

/* A sanitizer's runtime reads /proc/self/maps and tasks when it reports. */
static int allow_sanitizer(int ruleset, const struct abi_rights *abi)
{
#ifdef VMM_SANITIZED
	return allow_beneath(ruleset, abi, "/proc", FS_READ_FILE | FS_READ_DIR);
#else
	(void)ruleset;
	(void)abi;
	return 0;
#endif
}

int landlock_restrict(const char *const *unlink_paths, struct err *err)
{
	const struct abi_rights *abi = rights_of(sandbox_landlock_abi());
	_cleanup_close_ int ruleset = -1;
	int ret;

	if (!abi) {
		log_info("sandbox: this kernel has no Landlock: files stay protected by seccomp "
			 "alone");
		return 0;
	}
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &abi->attr, abi->size, 0);
	if (ruleset < 0)
		return err_set(err, -errno, "sandbox: Landlock (ABI %d) refuses a ruleset: %s",
			       abi->abi, strerror(errno));
	ret = allow_unlinks(ruleset, abi, unlink_paths, err);
	if (ret < 0)
		return ret;
	ret = allow_sanitizer(ruleset, abi);
	if (ret == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		ret = -errno;
	if (ret < 0)
		return err_set(err, ret, "sandbox: Landlock can't restrict this process: %s",
			       strerror(-ret));
	return 0;
}
