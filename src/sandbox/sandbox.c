/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "sandbox/filters.h"
#include "sandbox/landlock.h"
#include "sandbox/sigsys.h"

static const char *const role_names[SANDBOX_ROLES] = {
	[SANDBOX_MAIN] = "main",
	[SANDBOX_VCPU] = "vcpu",
	[SANDBOX_WORKER] = "worker",
	[SANDBOX_IO] = "io",
};

/* The bits of `wanted` that this process has, as capng has read them. */
static uint64_t permitted(uint64_t wanted)
{
	uint64_t caps = 0;

	for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (wanted >> cap & 1 && capng_have_capability(CAPNG_PERMITTED, cap) == 1)
			caps |= UINT64_C(1) << cap;
	return caps;
}

static void add_capabilities(uint64_t caps)
{
	for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (caps >> cap & 1)
			(void)capng_update(CAPNG_ADD,
					   CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
					   cap);
}

/*
 * All but those in `keep`. The bounding set can only be cut with CAP_SETPCAP; without it
 * no_new_privs already keeps every new capability away. An ordinary user has nothing to drop.
 */
static int drop_capabilities(uint64_t keep, struct err *err)
{
	bool bounds;

	if (capng_get_caps_process() != 0)
		return err_set(err, -EIO, "sandbox: can't read the capabilities of this process");
	bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) == 1;
	keep = permitted(keep);
	capng_clear(CAPNG_SELECT_ALL);
	add_capabilities(keep);
	if (bounds && capng_apply(CAPNG_SELECT_BOUNDS) != 0)
		return err_set(err, -EPERM, "sandbox: can't empty the capability bounding set");
	/* -EINVAL before Linux 4.3, which has no ambient set. */
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (capng_apply(CAPNG_SELECT_CAPS) != 0)
		return err_set(err, -EPERM, "sandbox: can't drop the capabilities of this process");
	return 0;
}

/*
 * glibc's other arenas open /proc/sys/vm/overcommit_memory when one shrinks, which no role may.
 * With one arena a few pages less are touched, too.
 */
static void tame_malloc(void)
{
	(void)mallopt(M_ARENA_MAX, 1);
}

int sandbox_lock_process(enum sandbox_mode mode, const char *const *unlink_paths, struct err *err)
{
	int ret;

	if (mode == SANDBOX_OFF)
		return 0;
	tame_malloc();
	ret = sigsys_install();
	if (ret < 0)
		return err_set(err, ret, "sandbox: can't catch SIGSYS: %s", strerror(-ret));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return err_set(err, -errno, "sandbox: can't set no_new_privs: %s", strerror(errno));
	ret = drop_capabilities(0, err);
	if (ret < 0 || mode == SANDBOX_LOG)
		return ret;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return err_set(err, -errno, "sandbox: can't turn core dumps and tracing off: %s",
			       strerror(errno));
	return landlock_restrict(unlink_paths, err);
}

/*
 * Without SECCOMP_FILTER_FLAG_SPEC_ALLOW on purpose: whether a filtered thread runs with
 * speculative store bypass off is for the host's administrator (spec_store_bypass_disable=), not
 * for us. Since Linux 5.16 the default is that it costs nothing.
 */
static int load_filter(const struct sandbox_program *program)
{
	/* The kernel only reads the program, the uapi struct has no const. */
	union {
		const struct sock_filter *read_only;
		struct sock_filter *uapi;
	} insns = {.read_only = program->insns};
	struct sock_fprog fprog = {.len = program->len, .filter = insns.uapi};

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &fprog) == 0 ? 0 : -errno;
}

int sandbox_lock_broker(enum sandbox_mode mode, uint64_t keep, struct err *err)
{
	int ret;

	if (mode == SANDBOX_OFF)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return err_set(err, -errno, "sandbox: can't set no_new_privs: %s", strerror(errno));
	ret = drop_capabilities(keep, err);
	if (ret < 0 || mode == SANDBOX_LOG)
		return ret;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return err_set(err, -errno, "sandbox: can't turn core dumps and tracing off: %s",
			       strerror(errno));
	if (sandbox_broker_program.len == 0)
		return 0;
	ret = load_filter(&sandbox_broker_program);
	return ret < 0 ? err_set(err, ret,
				 "sandbox: the kernel refuses the broker's seccomp filter: %s; "
				 "--sandbox off runs without it",
				 strerror(-ret))
		       : 0;
}

int sandbox_enter_role(enum sandbox_mode mode, enum sandbox_role role, struct err *err)
{
	const struct sandbox_program *program;
	int ret;

	if (mode == SANDBOX_OFF)
		return 0;
	program = &sandbox_programs[role][mode];
	if (program->len == 0) {
		/* Once is enough, and there is one main thread. */
		if (role == SANDBOX_MAIN)
			log_info("sandbox: this vmm was built without seccomp filters");
		return 0;
	}
	sigsys_enter_thread(role_names[role]);
	ret = load_filter(program);
	if (ret < 0)
		return err_set(err, ret,
			       "sandbox: the kernel refuses the seccomp filter of role %s: %s; "
			       "--sandbox off runs without it",
			       role_names[role], strerror(-ret));
	return 0;
}
