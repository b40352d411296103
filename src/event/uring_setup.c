/* SPDX-License-Identifier: Apache-2.0 */
#include "event/uring_setup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"

/* Entries of the rings: more are submitted in several goes, and completions that find no place are
 * kept by the kernel. */
enum { MIN_ENTRIES = 16, MAX_ENTRIES = 4096, CQ_PER_SQ = 4 };

/* EXT_ARG (5.11): a timeout without an entry for it. RSRC_TAGS came with multishot poll (5.13),
 * which has no bit of its own. */
#define NEEDED_FEATURES (IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_RSRC_TAGS)

/* The sysctl of Linux 6.6; '0' where there is none. */
static char disabled_by_sysctl(void)
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
	char digit = '0';

	if (fd < 0 || read(fd, &digit, 1) != 1)
		return '0';
	return digit;
}

static int explain_eperm(struct err *err)
{
	switch (disabled_by_sysctl()) {
	case '1':
		return err_set(err, -EPERM,
			       "io_uring is for privileged users and the group in "
			       "kernel.io_uring_group only (kernel.io_uring_disabled is 1)");
	case '2':
		return err_set(err, -EPERM,
			       "io_uring is switched off (kernel.io_uring_disabled is 2)");
	default:
		return err_set(
			err, -EPERM,
			"io_uring is refused by a seccomp filter, a container's most likely");
	}
}

int uring_explain(int error, struct err *err)
{
	switch (error) {
	case -EPERM:
		return explain_eperm(err);
	case -ENOSYS:
		return err_set(err, error,
			       "this kernel has no io_uring, or a container's filter hides it");
	case -ENOMEM:
		return err_set(err, error,
			       "not enough memory for io_uring's rings (before Linux 5.12 they "
			       "count as locked memory: ulimit -l)");
	case -EINVAL:
	case -EOPNOTSUPP:
		return err_set(err, error, "this kernel's io_uring is too old: 5.13 is needed");
	default:
		return err_set(err, error, "can't use io_uring: %s", strerror(-error));
	}
}

/* Each of these is left away where the kernel doesn't know it, the newest first. */
static const unsigned optional_flags[] = {
	IORING_SETUP_DEFER_TASKRUN,			       /* 6.1: completions when we ask */
	IORING_SETUP_SINGLE_ISSUER,			       /* 6.0 */
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, /* 5.19: no interrupts for them */
	IORING_SETUP_SUBMIT_ALL,			       /* 5.18: one bad entry, one error */
};

static int init_ring(const struct uring_setup *setup, struct io_uring *ring)
{
	unsigned entries = MIN(MAX(setup->depth, (unsigned)MIN_ENTRIES), (unsigned)MAX_ENTRIES);
	unsigned flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(optional_flags); i++)
		flags |= optional_flags[i];
	/* The flag in shared memory says that entering is worth it; it costs an atomic. */
	if (!setup->polled)
		flags &= ~IORING_SETUP_TASKRUN_FLAG;
	for (size_t i = 0;; i++) {
		struct io_uring_params params = {.flags = flags, .cq_entries = entries * CQ_PER_SQ};

		r = io_uring_queue_init_params(entries, ring, &params);
		if (r != -EINVAL || i == ARRAY_SIZE(optional_flags))
			return r;
		flags &= ~optional_flags[i];
	}
}

/* Before 5.19 there is no sparse table, only one of many -1. */
static int register_files(struct io_uring *ring, unsigned n)
{
	_cleanup_free_ int *none = NULL;
	int r = io_uring_register_files_sparse(ring, n);

	if (r != -EINVAL)
		return r;
	none = malloc(n * sizeof(*none));
	if (!none)
		return -ENOMEM;
	memset(none, 0xff, n * sizeof(*none));
	return io_uring_register_files(ring, none, n);
}

static int restrict_ring(struct io_uring *ring)
{
	static const uint8_t ops[] = {
		IORING_OP_READ,	 IORING_OP_READV,     IORING_OP_WRITE,	  IORING_OP_WRITEV,
		IORING_OP_FSYNC, IORING_OP_FALLOCATE, IORING_OP_POLL_ADD, IORING_OP_POLL_REMOVE,
	};
	struct io_uring_restriction rules[ARRAY_SIZE(ops) + 2] = {
		{.opcode = IORING_RESTRICTION_REGISTER_OP,
		 .register_op = IORING_REGISTER_FILES_UPDATE},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		rules[i + 2].opcode = IORING_RESTRICTION_SQE_OP;
		rules[i + 2].sqe_op = ops[i];
	}
	/* liburing 2.3 declares a function for this, and for enabling, but doesn't export it. */
	return io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_RESTRICTIONS, rules,
				 ARRAY_SIZE(rules));
}

int uring_enable(struct io_uring *ring)
{
	return io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static int fill_ring(const struct uring_setup *setup, struct io_uring *ring)
{
	int r;

	if ((ring->features & NEEDED_FEATURES) != NEEDED_FEATURES)
		return -EOPNOTSUPP;
	r = register_files(ring, setup->n_files);
	return r < 0 ? r : restrict_ring(ring);
}

int uring_setup(const struct uring_setup *setup, struct io_uring *ret, struct err *err)
{
	int r = init_ring(setup, ret);

	if (r < 0)
		return uring_explain(r, err);
	r = fill_ring(setup, ret);
	if (r < 0) {
		io_uring_queue_exit(ret);
		return uring_explain(r, err);
	}
	return 0;
}
