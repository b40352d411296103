/* SPDX-License-Identifier: Apache-2.0 */
/* The low 4 GiB are mapped one to one by start.S; what lies above is seen through a window. */
#ifndef GUEST_PAGING_H
#define GUEST_PAGING_H

#include <stdint.h>

/*
 * An address for the guest-physical one, good for what is left of its 2 MiB page and, above 4 GiB,
 * until the next call.
 */
void *paging_map(uint64_t pa);

#endif
