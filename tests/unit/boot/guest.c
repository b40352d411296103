/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/endian.h"
#include "boot/x86/bootparam_abi.h"

static void *memory_make(uint64_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	cr_assert_neq(p, MAP_FAILED, "mmap of %llu bytes", (unsigned long long)size);
	return p;
}

static void add_region(struct guest *g, uint64_t gpa, uint64_t size)
{
	/* The second region is only real when it is small enough to be mapped anywhere. */
	void *host = gpa == 0 || size <= GIB(64) ? memory_make(size) : NULL;

	g->ram.regions[g->ram.n++] =
		(struct mm_region){.gpa = GPA(gpa), .size = size, .host = host, .fd = -1};
}

static const struct boot_platform platform = {
	.ecam_base = 0xe0000000,
	.ecam_size = MIB(256),
	.mmio32_base = 0xc0000000,
	.mmio32_size = 0x20000000,
	.mmio64_base = GIB(512),
	.mmio64_size = GIB(256),
	.ioapic_base = 0xfec00000,
	.lapic_base = 0xfee00000,
	.sleep_port = 0x600,
	.reset_port = 0x602,
	.reset_value = 1,
	.ged_port = 0x604,
	.ged_gsi = 9,
	.serial_port = 0x3f8,
	.serial_gsi = 4,
	.rtc_port = 0x70,
	.rtc_gsi = 8,
	.pvpanic_port = 0x505,
};

void guest_cpus(struct guest *g, unsigned n, unsigned first_apic_id)
{
	cr_assert_leq(n, ARRAY_SIZE(g->apic_ids));
	for (unsigned i = 0; i < n; i++)
		g->apic_ids[i] = first_apic_id + i;
	g->params.platform.n_cpus = n;
}

void guest_init(struct guest *g, uint64_t bytes)
{
	memset(g, 0, sizeof(*g));
	add_region(g, 0, MIN(bytes, GIB(3)));
	if (bytes > GIB(3))
		add_region(g, GIB(4), bytes - GIB(3));
	g->params = (struct boot_params){
		.kernel = {.fd = -1},
		.initrd = {.fd = -1},
		.cmdline = "console=ttyS0",
		.ram = &g->ram,
		.platform = platform,
	};
	g->params.platform.apic_ids = g->apic_ids;
	guest_cpus(g, 1, 0);
}

void guest_done(struct guest *g)
{
	for (unsigned i = 0; i < g->ram.n; i++) {
		if (g->ram.regions[i].host)
			(void)munmap(g->ram.regions[i].host, g->ram.regions[i].size);
	}
	if (g->params.kernel.fd >= 0)
		(void)close(g->params.kernel.fd);
	if (g->params.initrd.fd >= 0)
		(void)close(g->params.initrd.fd);
}

void *guest_at(const struct guest *g, uint64_t gpa, uint64_t len)
{
	void *host = mm_map_host(&g->ram, GPA(gpa), len);

	cr_assert_not_null(host, "no guest memory at %#llx", (unsigned long long)gpa);
	return host;
}

static int memfd_sized(const char *name, uint64_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

struct boot_file file_make(const char *name, const void *bytes, size_t len)
{
	int fd = memfd_sized(name, len);

	cr_assert_eq(pwrite(fd, bytes, len, 0), (ssize_t)len);
	return (struct boot_file){.fd = fd, .name = name, .size = len};
}

struct boot_file file_sparse(const char *name, uint64_t size)
{
	int fd = memfd_sized(name, size);

	cr_assert_eq(pwrite(fd, "Z", 1, (off_t)(size - 1)), 1);
	if (size > 1)
		cr_assert_eq(pwrite(fd, "A", 1, 0), 1);
	return (struct boot_file){.fd = fd, .name = name, .size = size};
}

struct boot_file file_open(const char *path)
{
	struct boot_file file = {.fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1, .name = path};
	struct stat st;

	if (file.fd >= 0 && fstat(file.fd, &st) == 0)
		file.size = (uint64_t)st.st_size;
	return file;
}

void guest_boot(struct guest *g)
{
	int r = boot_load(&g->params, &g->entry, &g->err);

	cr_assert_eq(r, 0, "boot_load: %d: %s", r, g->err.msg);
}

void guest_refuses(struct guest *g, int code, const char *first, ...)
{
	int r = boot_load(&g->params, &g->entry, &g->err);
	const char *text = first;
	va_list ap;

	cr_assert_eq(r, code, "boot_load gave %d instead of %d: %s", r, code, g->err.msg);
	va_start(ap, first);
	for (; text; text = va_arg(ap, const char *))
		cr_assert(strstr(g->err.msg, text), "no '%s' in: %s", text, g->err.msg);
	va_end(ap);
}

void bzimage_make(uint8_t b[BZ_SIZE])
{
	memset(b, 0, BZ_SETUP);
	for (unsigned i = 0; i < BZ_SYS; i++)
		b[BZ_SETUP + i] = (uint8_t)(i * 7);
	b[HDR_SETUP_SECTS] = BZ_SETUP / SETUP_SECTOR - 1;
	put_le32(b + HDR_SYSSIZE, BZ_SYS / 16);
	put_le16(b + HDR_BOOT_FLAG, BOOT_FLAG);
	b[0x200] = 0xeb;
	b[HDR_JUMP_LENGTH] = 0x6a;
	put_le32(b + HDR_MAGIC, HDR_MAGIC_HDRS);
	put_le16(b + HDR_VERSION, 0x20f);
	b[HDR_LOADFLAGS] = LOADFLAG_LOADED_HIGH;
	put_le32(b + HDR_INITRD_ADDR_MAX, 0x7fffffff);
	put_le32(b + HDR_KERNEL_ALIGNMENT, (uint32_t)MIB(2));
	b[HDR_RELOCATABLE] = 1;
	put_le16(b + HDR_XLOADFLAGS, XLOADFLAG_KERNEL_64 | XLOADFLAG_ABOVE_4G);
	put_le32(b + HDR_CMDLINE_SIZE, 2047);
	put_le32(b + HDR_PAYLOAD_OFFSET, 0x100);
	put_le32(b + HDR_PAYLOAD_LENGTH, 0x200);
	put_le64(b + HDR_PREF_ADDRESS, MIB(16));
	put_le32(b + HDR_INIT_SIZE, (uint32_t)MIB(4));
}

void elf_make(struct elf_maker *elf, bool pvh)
{
	memset(elf, 0, sizeof(*elf));
	memcpy(elf->e.e_ident, ELFMAG, SELFMAG);
	elf->e.e_ident[EI_CLASS] = ELFCLASS64;
	elf->e.e_ident[EI_DATA] = ELFDATA2LSB;
	elf->e.e_ident[EI_VERSION] = EV_CURRENT;
	elf->e.e_type = ET_EXEC;
	elf->e.e_machine = EM_X86_64;
	elf->e.e_version = EV_CURRENT;
	elf->e.e_entry = MIB(16) + 0x40;
	elf->e.e_phoff = offsetof(struct elf_maker, ph);
	elf->e.e_ehsize = sizeof(elf->e);
	elf->e.e_phentsize = sizeof(Elf64_Phdr);
	elf->e.e_phnum = pvh ? 2 : 1;
	elf->ph[0] = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = offsetof(struct elf_maker, code),
		.p_vaddr = 0xffffffff81000000,
		.p_paddr = MIB(16),
		.p_filesz = sizeof(elf->code),
		.p_memsz = sizeof(elf->code) + KIB(8),
	};
	elf->ph[1] = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = offsetof(struct elf_maker, note),
		.p_filesz = sizeof(elf->note),
		.p_align = 4,
	};
	elf->note.h = (Elf64_Nhdr){.n_namesz = 4, .n_descsz = 8, .n_type = 18};
	memcpy(elf->note.name, "Xen", 4);
	put_le64(&elf->note.desc, MIB(16) + 0x80);
	for (unsigned i = 0; i < sizeof(elf->code); i++)
		elf->code[i] = (uint8_t)(i * 5);
}
