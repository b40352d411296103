/* SPDX-License-Identifier: Apache-2.0 */
/* A bzImage of any content. The magic numbers are put in, so that no time is lost on finding them.
 */
#include "boot_target.h"

#include "base/endian.h"
#include "boot/x86/bootparam_abi.h"

enum { INPUT_MAX = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t file[INPUT_MAX];

	if (size < HDR_END_2_12 || size > sizeof(file))
		return -1;
	memcpy(file, data, size);
	put_le16(file + HDR_BOOT_FLAG, BOOT_FLAG);
	put_le32(file + HDR_MAGIC, HDR_MAGIC_HDRS);
	target_load(file, size, BOOT_AUTO);
	return 0;
}
