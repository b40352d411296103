/* SPDX-License-Identifier: Apache-2.0 */
/* `vmm version`: the version, and what this binary was built with and can do. */
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "cli/cli.h"
#include "machine/outcome.h"
#include "machine/version.h"

static const char *const features[] = {
	"kernel: bzImage (64-bit entry), ELF (PVH, 64-bit entry)",
	"machine: ACPI hardware-reduced, PCIe host bridge, 1 to 254 vCPUs, x2APIC",
	"memory: private, shared memfd, huge pages 2M and 1G, prefault",
	"console: stdio, pty, file, unix socket; debug port 0xe9",
	"exit: exit port 0xf4, pvpanic, ACPI power button, reset in place",
#ifdef VMM_SECCOMP
	"sandbox: seccomp per thread role, no capabilities, Landlock",
#else
	"sandbox: no capabilities, Landlock (built without seccomp)",
#endif
};

int cli_version(int argc, char *const argv[])
{
	(void)printf("vmm %s\n", VMM_VERSION);
	if (argc == 0)
		return 0;
	if (argc > 1 || strcmp(argv[0], "--features") != 0) {
		(void)fprintf(
			stderr,
			"vmm: error: version: \"%s\" is not known; it takes --features only\n",
			argv[0]);
		return EXIT_VMM_ERROR;
	}
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		(void)printf("  %s\n", features[i]);
	return 0;
}
