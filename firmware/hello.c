/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Greets, repeats its command line, and exits with code=N (0). Launch times are measured with it,
 * so it runs as few instructions as it can: no set-up of the port, no copies.
 */
#include "rt/args.h"
#include "rt/guest.h"
#include "rt/serial.h"

static const char greeting[] = "hello from the guest\n";

int guest_main(const struct pvh_start_info *info)
{
	const char *line = (const char *)(uintptr_t)info->cmdline;
	size_t n = 0;

	serial_burst(greeting, sizeof(greeting) - 1);
	if (!line || !*line)
		return 0;
	while (line[n])
		n++;
	serial_burst(line, n);
	serial_burst("\n", 1);
	args_init(line);
	return (int)args_number("code", 0);
}
