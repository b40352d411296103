/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership by scope. A variable marked _cleanup_(fn) is released when it goes out of scope;
 * TAKE_PTR and TAKE_FD hand it on. Destructors accept NULL and half-built objects.
 */
#ifndef VMM_BASE_CLEANUP_H
#define VMM_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

/* Defines fn##_cleanup(type *) for _cleanup_(): calls fn on the pointer unless it is NULL. */
#define DEFINE_CLEANUP(type, fn)                                                                   \
	static inline void fn##_cleanup(type *p)                                                   \
	{                                                                                          \
		if (*p)                                                                            \
			(void)fn(*p);                                                              \
	}                                                                                          \
	struct cleanup_semicolon_

static inline void free_cleanup(void *p)
{
	free(*(void **)p);
}

static inline void fd_cleanup(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

#define _cleanup_free_	_cleanup_(free_cleanup)
#define _cleanup_close_ _cleanup_(fd_cleanup)

#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})

#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int taken_ = (fd);                                                                 \
		(fd) = -1;                                                                         \
		taken_;                                                                            \
	})

#endif
