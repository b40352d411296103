/* SPDX-License-Identifier: Apache-2.0 */
/* An ELF file of any content (without the magic, any file at all), by each protocol. */
#include "boot_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 1 << 16)
		return -1;
	target_load(data, size, BOOT_AUTO);
	target_load(data, size, BOOT_LINUX64);
	return 0;
}
