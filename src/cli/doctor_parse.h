/* SPDX-License-Identifier: Apache-2.0 */
/* `vmm doctor`'s readers of /proc and /sys texts: text in, finding out, no file is touched. */
#ifndef VMM_CLI_DOCTOR_PARSE_H
#define VMM_CLI_DOCTOR_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* Is the word among the flags of the first processor of /proc/cpuinfo? */
bool doctor_parse_cpu_flag(const char *cpuinfo, const char *flag);

/* "always [madvise] never" -> "madvise". 0, -EINVAL without brackets, -ENOSPC. */
int doctor_parse_choice(const char *text, char *ret, size_t len) must_check;

/* What a kernel with this ABI of Landlock leaves to seccomp alone, as a list; "" for nothing. */
void doctor_landlock_gaps(int abi, char *ret, size_t len);

enum doctor_kvm_kind { DOCTOR_KVM_HARDWARE, DOCTOR_KVM_SOFTWARE, DOCTOR_KVM_UNKNOWN };

/* From the CPU's vmx or svm flag and the KVM modules that are there. */
enum doctor_kvm_kind doctor_kvm_kind(bool cpu_flag, bool module_hardware, bool module_software);

#endif
