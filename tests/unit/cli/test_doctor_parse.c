/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cli/doctor_parse.h"

static const char cpuinfo[] = "processor\t: 0\nmodel name\t: A vmx of sorts\n"
			      "vmx flags\t: vnmi ept\n"
			      "flags\t\t: fpu svm_lock vmx pni\nbugs\t\t: svm\n"
			      "\nprocessor\t: 1\nflags\t\t: fpu late\n";

Test(cpu_flag, found_as_a_whole_word_of_the_flags_line)
{
	cr_assert(doctor_parse_cpu_flag(cpuinfo, "fpu"));
	cr_assert(doctor_parse_cpu_flag(cpuinfo, "vmx"));
	cr_assert(doctor_parse_cpu_flag(cpuinfo, "pni"));
}

Test(cpu_flag, part_of_a_word_or_another_line_does_not_count)
{
	cr_assert_not(doctor_parse_cpu_flag(cpuinfo, "svm"));
	cr_assert_not(doctor_parse_cpu_flag(cpuinfo, "ept"));
	cr_assert_not(doctor_parse_cpu_flag(cpuinfo, "late"));
}

Test(cpu_flag, text_without_flags_or_cut_short_has_none)
{
	cr_assert_not(doctor_parse_cpu_flag("", "vmx"));
	cr_assert_not(doctor_parse_cpu_flag("processor : 0\n", "vmx"));
	cr_assert_not(doctor_parse_cpu_flag("x\nflags", "vmx"));
	cr_assert(doctor_parse_cpu_flag("flags : vmx", "vmx"));
}

Test(choice, is_what_stands_in_brackets)
{
	char choice[16];

	cr_assert_eq(doctor_parse_choice("always [madvise] never\n", choice, sizeof(choice)), 0);
	cr_assert_str_eq(choice, "madvise");
}

Test(choice, without_brackets_or_too_long_is_refused)
{
	char choice[4];

	cr_assert_eq(doctor_parse_choice("always never", choice, sizeof(choice)), -EINVAL);
	cr_assert_eq(doctor_parse_choice("always [never", choice, sizeof(choice)), -EINVAL);
	cr_assert_eq(doctor_parse_choice("[never]", choice, sizeof(choice)), -ENOSPC);
}

Test(landlock, gaps_shrink_with_the_abi)
{
	char gaps[256];

	doctor_landlock_gaps(2, gaps, sizeof(gaps));
	cr_assert_str_eq(gaps, "cutting files (truncate), TCP ports, ioctl on device files, "
			       "abstract unix sockets and signals to other processes");
	doctor_landlock_gaps(5, gaps, sizeof(gaps));
	cr_assert_str_eq(gaps, "abstract unix sockets and signals to other processes");
	doctor_landlock_gaps(6, gaps, sizeof(gaps));
	cr_assert_str_eq(gaps, "");
	doctor_landlock_gaps(9, gaps, sizeof(gaps));
	cr_assert_str_eq(gaps, "");
	doctor_landlock_gaps(0, gaps, sizeof(gaps));
	cr_assert(strstr(gaps, "opening files by path"));
}

Test(landlock, list_is_cut_to_fit)
{
	char gaps[8];

	doctor_landlock_gaps(0, gaps, sizeof(gaps));
	cr_assert_str_eq(gaps, "opening");
}

Test(kvm_kind, hardware_needs_the_flag_and_software_is_known_by_its_module)
{
	cr_assert_eq(doctor_kvm_kind(true, true, false), DOCTOR_KVM_HARDWARE);
	cr_assert_eq(doctor_kvm_kind(true, false, false), DOCTOR_KVM_HARDWARE);
	cr_assert_eq(doctor_kvm_kind(false, false, true), DOCTOR_KVM_SOFTWARE);
	cr_assert_eq(doctor_kvm_kind(true, false, true), DOCTOR_KVM_SOFTWARE);
	cr_assert_eq(doctor_kvm_kind(false, true, false), DOCTOR_KVM_UNKNOWN);
}
