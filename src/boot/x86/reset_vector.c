/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a firmware has at its reset vector. Linux on hardware-reduced ACPI leaves the FADT's reset
 * register alone and, without EFI, reboots by a jump to ffff:0000 in real mode; there it finds the
 * register's write.
 */
#include <errno.h>
#include <string.h>

#include "base/endian.h"
#include "boot/x86/layout.h"
#include "boot/x86/tables.h"

int reset_vector_build(const struct boot_platform *platform, const struct mm_map *ram,
		       struct err *err)
{
	enum { RESET_VECTOR = 0xffff0, PORT_AT = 1, VALUE_AT = 4 };
	uint8_t code[] = {
		0xba, 0,    0, /* mov dx, reset_port */
		0xb0, 0,       /* mov al, reset_value */
		0xee,	       /* out dx, al */
		0xf4,	       /* hlt */
		0xeb, 0xfd,    /* jmp to the hlt */
	};

	put_le16(code + PORT_AT, platform->reset_port);
	code[VALUE_AT] = platform->reset_value;
	if (mm_map_write(ram, GPA(RESET_VECTOR), code, sizeof(code)) < 0)
		return err_set(err, -EFAULT, "reset vector: no memory at %#x", RESET_VECTOR);
	return 0;
}
