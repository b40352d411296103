/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words the compiler understands: attributes, container_of, clang's thread-safety annotations.
 *
 * Thread roles are capabilities: a function marked REQUIRES(role_main) can only be called by code
 * that holds the role, so a call from the wrong thread does not compile under clang
 * (-Wthread-safety). gcc sees empty macros.
 */
#ifndef VMM_BASE_COMPILER_H
#define VMM_BASE_COMPILER_H

#include <stddef.h>

#define must_check	      __attribute__((warn_unused_result))
#define printf_like(fmt, arg) __attribute__((format(printf, fmt, arg)))
#define ARRAY_SIZE(a)	      (sizeof(a) / sizeof((a)[0]))

/* From a pointer to a member to the object around it; the member's type is checked. */
#define container_of(ptr, type, member)                                                            \
	({                                                                                         \
		__typeof__(((type *)0)->member) *member_ptr_ = (ptr);                              \
		(type *)(void *)((char *)member_ptr_ - offsetof(type, member));                    \
	})

/* gcc and clang have different words for it. */
#if defined(__SANITIZE_ADDRESS__)
#define BUILT_WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BUILT_WITH_ASAN 1
#endif
#endif
#ifndef BUILT_WITH_ASAN
#define BUILT_WITH_ASAN 0
#endif

#if defined(__clang__)
#define THREAD_ANNOTATION(x) __attribute__((x))
#else
#define THREAD_ANNOTATION(x)
#endif

#define CAPABILITY(name)       THREAD_ANNOTATION(capability(name))
#define REQUIRES(...)	       THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define ACQUIRES(...)	       THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define RELEASES(...)	       THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define ASSERTS_CAPABILITY(x)  THREAD_ANNOTATION(assert_capability(x))
#define NO_THREAD_SAFETY_CHECK THREAD_ANNOTATION(no_thread_safety_analysis)

#endif
