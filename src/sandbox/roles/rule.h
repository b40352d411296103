/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vocabulary of the role tables. Only the build-time generator (gen_filters.c) includes them,
 * so libseccomp is not needed at run time. A row allows one system call, or one under a condition
 * on one argument; several rows for the same call add up.
 *
 * Only scalar arguments can be checked: a filter sees pointers but not what they point to.
 */
#ifndef VMM_SANDBOX_ROLES_RULE_H
#define VMM_SANDBOX_ROLES_RULE_H

#include <seccomp.h>
#include <stdint.h>

/* 32 bits of an argument, the upper half ignored: int and unsigned int arguments may carry rubbish
 * there. */
#define LOW_HALF UINT64_C(0xffffffff)

struct rule {
	int call;
	unsigned conds; /* 0 or 1 */
	struct scmp_arg_cmp cond;
};

#define ALLOW(name)                                                                                \
	{                                                                                          \
		.call = SCMP_SYS(name)                                                             \
	}
#define ALLOW_MASKED(name, nth, mask, value)                                                       \
	{                                                                                          \
		SCMP_SYS(name), 1,                                                                 \
		{                                                                                  \
			nth, SCMP_CMP_MASKED_EQ, mask, value                                       \
		}                                                                                  \
	}
/* The nth argument, an int, has this value. */
#define ALLOW_WHEN(name, nth, value) ALLOW_MASKED(name, nth, LOW_HALF, (uint32_t)(value))
#define ALLOW_IOCTL(request)	     ALLOW_WHEN(ioctl, 1, request)
#define ALLOW_FCNTL(command)	     ALLOW_WHEN(fcntl, 1, command)
#define ALLOW_MADVISE(advice)	     ALLOW_WHEN(madvise, 2, advice)
/* A protection argument (the nth) without PROT_EXEC. */
#define ALLOW_NOEXEC(name, nth) ALLOW_MASKED(name, nth, PROT_EXEC, 0)

#endif
