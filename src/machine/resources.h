/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that a run takes from the host by path, opened and checked before the process is
 * locked down: /dev/kvm, kernel, initrd, character streams. After that nothing is
 * opened by path.
 */
#ifndef VMM_MACHINE_RESOURCES_H
#define VMM_MACHINE_RESOURCES_H

#include "backend/chr.h"
#include "base/compiler.h"
#include "base/err.h"
#include "boot/boot.h"
#include "config/config.h"
#include "kvm/host.h"
#include "machine/backends.h"

struct vm_resources {
	struct kvm_host host;
	struct boot_file kernel, initrd;
	enum boot_kernel_kind kernel_kind;
	char *cmdline; /* the effective one */
	struct vm_backends backends;
	/* serial is NULL when ttyS0 carries the console, hvc when hvc0 carries it or is not there
	 */
	struct chr *console, *serial, *debugcon, *hvc;
	struct chr **ports; /* of the virtio console, as many as config->ports */
	unsigned n_ports;
};

/* 0, or -errno with a message that names the option and the file. Half-open resources are the
 * caller's to close. check_only: the kernel, the initrd, the command line and the memory, and
 * nothing is created. */
int vm_resources_open(const struct vm_config *config, bool check_only, struct vm_resources *ret,
		      struct err *err) must_check;
void vm_resources_close(struct vm_resources *res);

/* All streams, by index up to vm_n_streams(); NULL for one that is not there. */
unsigned vm_n_streams(const struct vm_resources *res);
struct chr *vm_stream(const struct vm_resources *res, unsigned index);

/* Whether there is an hvc0. */
bool vm_has_hvc(const struct vm_config *config);
/* The stream that the guest's console is on: of ttyS0 or of hvc0. */
struct chr *vm_console_stream(const struct vm_config *config, const struct vm_resources *res);

/* The files that may still be unlinked after the lock-down, NULL-terminated, borrowed from config.
 */
enum { VM_RESOURCES_MAX_PATHS = 3 * CONFIG_MAX_ELEMENTS + 8 };
void vm_resources_writable_paths(const struct vm_config *config,
				 const char *ret[VM_RESOURCES_MAX_PATHS]);

#endif
