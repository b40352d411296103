/* SPDX-License-Identifier: Apache-2.0 */
/* A mutex that clang's thread-safety analysis can follow. Lock order: machine, device, leaf. */
#ifndef VMM_BASE_MUTEX_H
#define VMM_BASE_MUTEX_H

#include <pthread.h>

#include "base/compiler.h"

struct CAPABILITY("mutex") mutex {
	pthread_mutex_t m;
};

#define MUTEX_INIT                                                                                 \
	{                                                                                          \
		PTHREAD_MUTEX_INITIALIZER                                                          \
	}

static inline void mutex_init(struct mutex *mutex)
{
	(void)pthread_mutex_init(&mutex->m, NULL);
}

static inline void mutex_lock(struct mutex *mutex) ACQUIRES(*mutex) NO_THREAD_SAFETY_CHECK
{
	(void)pthread_mutex_lock(&mutex->m);
}

static inline void mutex_unlock(struct mutex *mutex) RELEASES(*mutex) NO_THREAD_SAFETY_CHECK
{
	(void)pthread_mutex_unlock(&mutex->m);
}

#endif
