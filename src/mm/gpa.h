/* SPDX-License-Identifier: Apache-2.0 */
/* Guest-physical addresses as a type of their own: a gpa can't pass as a host pointer or an offset.
 */
#ifndef VMM_MM_GPA_H
#define VMM_MM_GPA_H

#include <stdint.h>

typedef struct {
	uint64_t v;
} gpa_t;

#define GPA(addr) ((gpa_t){(uint64_t)(addr)})

#endif
