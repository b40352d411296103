/* SPDX-License-Identifier: Apache-2.0 */
/* $XDG_RUNTIME_DIR of a test's own. The tests of criterion are processes of their own, so it is
 * nobody else's. */
#ifndef VMM_TESTS_RUNTIME_DIR_H
#define VMM_TESTS_RUNTIME_DIR_H

extern char runtime_dir[64];

void runtime_dir_make(void);
void runtime_dir_remove(void);

#endif
