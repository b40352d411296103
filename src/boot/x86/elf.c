/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF64 for x86-64: vmlinux, or any PVH guest. Each loadable segment goes to its physical address.
 * Every number in the file is checked against the file's size and against memory.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "boot/x86/formats.h"
#include "boot/x86/layout.h"
#include "boot/x86/pvh_abi.h"

enum {
	ELF_PHDRS_MAX = 128,
	ELF_NOTES_MAX = 1024,	     /* in one segment; what lies behind is not looked at */
	ELF_COMMAND_LINE_MAX = 2047, /* Linux: COMMAND_LINE_SIZE - 1 on x86 */
};

bool elf_matches(const struct kernel_head *head)
{
	return head->len >= SELFMAG && memcmp(head->bytes, ELFMAG, SELFMAG) == 0;
}

static const char *machine_name(unsigned machine)
{
	switch (machine) {
	case EM_386:
		return "32-bit x86";
	case EM_AARCH64:
		return "arm64";
	case EM_ARM:
		return "32-bit Arm";
	case EM_RISCV:
		return "RISC-V";
	case EM_PPC64:
		return "POWER";
	case EM_S390:
		return "s390";
	default:
		return "another machine";
	}
}

static int wrong_machine(const struct boot_file *file, const Elf64_Ehdr *e, struct err *err)
{
	return err_set(err, -ENOEXEC,
		       "kernel '%s': an ELF file for %s (machine %u); vmm runs x86-64 kernels",
		       file->name, machine_name(e->e_machine), e->e_machine);
}

static int check_ident(const struct boot_file *file, const struct kernel_head *head,
		       const Elf64_Ehdr *e, struct err *err)
{
	if (head->len < sizeof(*e))
		return err_set(
			err, -ENOEXEC,
			"kernel '%s': truncated ELF file: %llu bytes are less than its header; "
			"get the file again",
			file->name, (unsigned long long)file->size);
	if (e->e_ident[EI_DATA] != ELFDATA2LSB)
		return err_set(err, -ENOEXEC,
			       "kernel '%s': a big-endian ELF file; vmm runs x86-64 kernels",
			       file->name);
	if (e->e_ident[EI_CLASS] == ELFCLASS32 && e->e_machine == EM_X86_64)
		return err_set(err, -ENOEXEC,
			       "kernel '%s': an x32 ELF file (32-bit class); use an ELF64 vmlinux",
			       file->name);
	if (e->e_machine != EM_X86_64)
		return wrong_machine(file, e, err);
	if (e->e_ident[EI_CLASS] != ELFCLASS64)
		return err_set(err, -ENOEXEC,
			       "kernel '%s': corrupt ELF file: class %u; get the file again",
			       file->name, e->e_ident[EI_CLASS]);
	return 0;
}

static int check_type(const struct boot_file *file, const Elf64_Ehdr *e, struct err *err)
{
	const char *what = e->e_type == ET_REL	  ? "an object file or kernel module"
			   : e->e_type == ET_CORE ? "a core dump"
						  : "of no known type";

	if (e->e_type == ET_EXEC || e->e_type == ET_DYN)
		return 0;
	return err_set(err, -ENOEXEC,
		       "kernel '%s': the ELF file is %s, not a kernel; use vmlinux or a bzImage",
		       file->name, what);
}

static int check_ehdr(const struct boot_file *file, const struct kernel_head *head,
		      const Elf64_Ehdr *e, struct err *err)
{
	int r = check_ident(file, head, e, err);

	if (r == 0)
		r = check_type(file, e, err);
	if (r < 0)
		return r;
	if (e->e_phnum == 0 || e->e_phnum > ELF_PHDRS_MAX || e->e_phentsize != sizeof(Elf64_Phdr))
		return err_set(err, -ENOEXEC,
			       "kernel '%s': corrupt ELF file, or no kernel: %u program headers of "
			       "%u bytes "
			       "(1 to %d of %zu are possible)",
			       file->name, e->e_phnum, e->e_phentsize, ELF_PHDRS_MAX,
			       sizeof(Elf64_Phdr));
	if (!range_inside(e->e_phoff, e->e_phnum * sizeof(Elf64_Phdr), 0, file->size))
		return err_set(err, -ENOEXEC,
			       "kernel '%s': truncated ELF file: program headers at %#llx, the "
			       "file ends at "
			       "%#llx; get the file again",
			       file->name, (unsigned long long)e->e_phoff,
			       (unsigned long long)file->size);
	return 0;
}

static int read_phdr(const struct boot_file *file, const struct kernel_info *info, unsigned i,
		     Elf64_Phdr *ret, struct err *err)
{
	int r = kernel_read(file, ret, sizeof(*ret), info->phdr_offset + i * sizeof(*ret), err);

	if (r < 0)
		return r;
	if (ret->p_type != PT_LOAD && ret->p_type != PT_NOTE)
		return 0;
	if (!range_inside(ret->p_offset, ret->p_filesz, 0, file->size))
		return err_set(err, -ENOEXEC,
			       "kernel '%s': truncated ELF file: segment %u ends at %#llx, the "
			       "file at %#llx; "
			       "get the file again",
			       file->name, i, (unsigned long long)(ret->p_offset + ret->p_filesz),
			       (unsigned long long)file->size);
	return 0;
}

/* One note of [offset, end): the PVH entry goes to *ret_entry. *ret_next: where the next one
 * starts. */
static int read_note(const struct boot_file *file, uint64_t offset, uint64_t end,
		     uint64_t *ret_next, uint64_t *ret_entry, struct err *err)
{
	struct {
		Elf64_Nhdr h;
		char name[4];
		le64_t desc;
	} note = {0};
	uint64_t name_len, desc_len;
	int r = kernel_read(file, &note, MIN(sizeof(note), end - offset), offset, err);

	if (r < 0)
		return r;
	name_len = align_up(note.h.n_namesz, 4);
	desc_len = align_up(note.h.n_descsz, 4);
	*ret_next = offset + sizeof(note.h) + name_len + desc_len;
	if (*ret_next > end || note.h.n_type != PVH_NOTE_TYPE || note.h.n_namesz != 4 ||
	    memcmp(note.name, "Xen", 4) != 0)
		return 0;
	if (note.h.n_descsz == 4 || note.h.n_descsz == 8)
		*ret_entry = get_le_n(&note.desc, note.h.n_descsz);
	return 0;
}

static int read_notes(const struct boot_file *file, const Elf64_Phdr *ph, struct kernel_info *info,
		      struct err *err)
{
	uint64_t at = ph->p_offset, end = ph->p_offset + ph->p_filesz;
	uint64_t entry = 0;
	int r = 0;

	for (unsigned i = 0; i < ELF_NOTES_MAX && !entry; i++) {
		if (at >= end || end - at < sizeof(Elf64_Nhdr))
			break;
		r = read_note(file, at, end, &at, &entry, err);
		if (r < 0)
			return r;
	}
	if (entry) {
		info->kind = KERNEL_ELF_PVH;
		info->pvh_entry = entry;
	}
	return 0;
}

static int check_segment(const struct boot_file *file, unsigned i, const Elf64_Phdr *ph,
			 struct err *err)
{
	uint64_t end;

	if (ph->p_filesz > ph->p_memsz)
		return err_set(
			err, -ENOEXEC,
			"kernel '%s': corrupt ELF file: segment %u is larger in the file (%#llx) "
			"than in memory (%#llx); get the file again",
			file->name, i, (unsigned long long)ph->p_filesz,
			(unsigned long long)ph->p_memsz);
	if (ckd_add(&end, ph->p_paddr, ph->p_memsz) || end > LOW_4G || ph->p_paddr < HIGH_RAM_START)
		return err_set(
			err, -ENOEXEC,
			"kernel '%s': segment %u wants physical address %#llx (%#llx bytes), "
			"outside "
			"1 MiB to 4 GiB: an ordinary program, or a kernel for another machine",
			file->name, i, (unsigned long long)ph->p_paddr,
			(unsigned long long)ph->p_memsz);
	return 0;
}

/* All program headers: sizes, addresses, notes, and that there is something to load. */
static int check_phdrs(const struct boot_file *file, struct kernel_info *info, struct err *err)
{
	unsigned n_loads = 0;

	for (unsigned i = 0; i < info->n_phdrs; i++) {
		Elf64_Phdr ph;
		int r = read_phdr(file, info, i, &ph, err);

		if (r == 0 && ph.p_type == PT_INTERP)
			return err_set(
				err, -ENOEXEC,
				"kernel '%s': a program for Linux, not a kernel; use vmlinux or a "
				"bzImage",
				file->name);
		if (r == 0 && ph.p_type == PT_NOTE)
			r = read_notes(file, &ph, info, err);
		if (r == 0 && ph.p_type == PT_LOAD && ph.p_memsz > 0) {
			n_loads++;
			r = check_segment(file, i, &ph, err);
		}
		if (r < 0)
			return r;
	}
	if (n_loads == 0)
		return err_set(
			err, -ENOEXEC,
			"kernel '%s': an ELF file with nothing to load; use the linked vmlinux",
			file->name);
	return 0;
}

int elf_check(const struct boot_file *file, const struct kernel_head *head, struct kernel_info *ret,
	      struct err *err)
{
	Elf64_Ehdr e;
	int r;

	memcpy(&e, head->bytes, sizeof(e));
	r = check_ehdr(file, head, &e, err);
	if (r < 0)
		return r;
	ret->kind = KERNEL_ELF;
	ret->cmdline_limit = ELF_COMMAND_LINE_MAX;
	ret->initrd_limit = LOW_4G;
	ret->phdr_offset = e.e_phoff;
	ret->n_phdrs = e.e_phnum;
	ret->elf_entry = e.e_entry;
	return check_phdrs(file, ret, err);
}

static int load_segment(const struct boot_params *params, const Elf64_Phdr *ph, struct err *err)
{
	uint64_t end = ph->p_paddr + ph->p_memsz; /* checked */
	const struct mm_region *low = &params->ram->regions[0];
	uint8_t *host = NULL;
	int r;

	if (end <= low->size)
		host = mm_map_host(params->ram, GPA(ph->p_paddr), ph->p_memsz);
	if (!host)
		return kernel_needs_memory(params, &params->kernel, end, err);
	r = kernel_read(&params->kernel, host, ph->p_filesz, ph->p_offset, err);
	if (r < 0)
		return r;
	return mm_map_zero(params->ram, GPA(ph->p_paddr + ph->p_filesz),
			   ph->p_memsz - ph->p_filesz);
}

static bool holds(uint64_t start, uint64_t size, uint64_t addr)
{
	return range_inside(addr, 1, start, size);
}

/*
 * e_entry is a physical address in a vmlinux and a virtual one in other kernels. A segment that has
 * it as physical wins: a vmlinux also has a segment at virtual 0 (per-CPU data), which says
 * nothing.
 */
static void find_entry(const Elf64_Phdr *ph, uint64_t entry, uint64_t *physical, uint64_t *virtual)
{
	if (holds(ph->p_paddr, ph->p_memsz, entry))
		*physical = entry;
	else if (holds(ph->p_vaddr, ph->p_memsz, entry))
		*virtual = ph->p_paddr + (entry - ph->p_vaddr);
}

/* The PVH entry must be code that was loaded. */
static int check_pvh_entry(const struct boot_params *params, const struct kernel_info *info,
			   const struct kernel_image *image, struct err *err)
{
	if (info->kind != KERNEL_ELF_PVH ||
	    range_inside(info->pvh_entry, 1, image->start, image->end - image->start))
		return 0;
	return err_set(
		err, -ENOEXEC,
		"kernel '%s': corrupt ELF file: its PVH entry %#llx lies outside what it loads "
		"(%#llx to %#llx); get the file again",
		params->kernel.name, (unsigned long long)info->pvh_entry,
		(unsigned long long)image->start, (unsigned long long)image->end);
}

int elf_load(const struct boot_params *params, const struct kernel_info *info,
	     struct kernel_image *ret, struct err *err)
{
	struct kernel_image image = {.start = UINT64_MAX};
	uint64_t physical = 0, virtual = 0;
	int r;

	for (unsigned i = 0; i < info->n_phdrs; i++) {
		Elf64_Phdr ph;

		r = read_phdr(&params->kernel, info, i, &ph, err);
		if (r == 0 && (ph.p_type != PT_LOAD || ph.p_memsz == 0))
			continue;
		/* Again: the file is another one if somebody writes to it meanwhile. */
		if (r == 0)
			r = check_segment(&params->kernel, i, &ph, err);
		if (r == 0)
			r = load_segment(params, &ph, err);
		if (r < 0)
			return r;
		find_entry(&ph, info->elf_entry, &physical, &virtual);
		image.start = MIN(image.start, ph.p_paddr);
		image.end = MAX(image.end, align_up(ph.p_paddr + ph.p_memsz, GUEST_PAGE));
	}
	r = check_pvh_entry(params, info, &image, err);
	if (r < 0)
		return r;
	image.entry64 = physical ? physical : virtual;
	*ret = image;
	return 0;
}
