/* SPDX-License-Identifier: Apache-2.0 */
/* The version; meson.build passes it. */
#ifndef VMM_MACHINE_VERSION_H
#define VMM_MACHINE_VERSION_H

#ifndef VMM_VERSION
#define VMM_VERSION "unknown"
#endif

#endif
