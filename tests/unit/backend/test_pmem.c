/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/pmem.h"
#include "base/checked.h"

static char path[64];

static void make_file(uint64_t size)
{
	int fd;

	(void)snprintf(path, sizeof(path), "/tmp/vmm-test-pmem-XXXXXX");
	fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	(void)close(fd);
}

static void forget_file(void)
{
	(void)unlink(path);
}

TestSuite(pmem, .fini = forget_file);

static struct pmem *open_with(const struct pmem_opts *opts)
{
	struct pmem *p = NULL;
	struct err err = {0};

	cr_assert_eq(pmem_new(opts, &p, &err), 0, "%s", err.msg);
	return p;
}

static void refused(const struct pmem_opts *opts, int code, const char *says)
{
	struct pmem *p = NULL;
	struct err err = {0};

	cr_assert_eq(pmem_new(opts, &p, &err), code, "%s", err.msg);
	cr_assert_null(p);
	cr_assert(strstr(err.msg, "--pmem"), "%s", err.msg);
	cr_assert(strstr(err.msg, says), "%s", err.msg);
}

static void read_back(uint64_t offset, char *to, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	cr_assert_eq(pread(fd, to, len, (off_t)offset), (ssize_t)len);
	(void)close(fd);
}

Test(pmem, what_is_written__is_in_the_file)
{
	struct pmem *p;
	struct mm_region region;
	char text[6] = "";

	make_file(MIB(4));
	p = open_with(&(struct pmem_opts){.path = path});
	cr_assert_eq(p->size, MIB(4));
	cr_assert(is_aligned((uintptr_t)p->host, MIB(2)));
	pmem_region(p, GPA(GIB(8)), &region);
	cr_assert_eq(region.gpa.v, GIB(8));
	cr_assert_eq(region.size, MIB(4));
	cr_assert_eq(region.host, p->host);
	cr_assert(region.keep, "or a balloon could punch holes into the file");
	memcpy((char *)p->host + MIB(3), "hello", 6);
	read_back(MIB(3), text, sizeof(text));
	cr_assert_str_eq(text, "hello");
	cr_assert_null(pmem_free(p));
}

Test(pmem, read_only__the_file_never_changes)
{
	struct pmem *p;
	char text[6] = "......";

	make_file(MIB(2));
	cr_assert_eq(chmod(path, 0400), 0);
	p = open_with(&(struct pmem_opts){.path = path, .ro = true});
	memcpy(p->host, "hello", 6);
	read_back(0, text, sizeof(text));
	cr_assert_eq(text[0], 0);
	cr_assert_null(pmem_free(p));
}

Test(pmem, sizes_that_linux_does_not_take__come_with_the_command)
{
	char command[128];

	make_file(MIB(3));
	(void)snprintf(command, sizeof(command), "truncate -s 4M %s", path);
	refused(&(struct pmem_opts){.path = path}, -EINVAL, command);
	forget_file();
	make_file(0);
	refused(&(struct pmem_opts){.path = path}, -EINVAL, "truncate -s 2M");
	forget_file();
	make_file(MIB(4) + 1);
	refused(&(struct pmem_opts){.path = path}, -EINVAL, "truncate -s 6M");
}

Test(pmem, size__maps_a_part_but_never_more_than_there_is)
{
	struct pmem *p;

	make_file(MIB(4) + 5);
	p = open_with(&(struct pmem_opts){.path = path, .size = MIB(4)});
	cr_assert_eq(p->size, MIB(4));
	cr_assert_null(pmem_free(p));
	refused(&(struct pmem_opts){.path = path, .size = MIB(8)}, -EINVAL, "truncate -s 8M");
	refused(&(struct pmem_opts){.path = path, .size = MIB(3)}, -EINVAL, "multiple of 2M");
}

Test(pmem, one_writer_or_many_readers)
{
	struct pmem_opts rw = {.path = path}, ro = {.path = path, .ro = true};
	struct pmem_opts off = {.path = path, .no_lock = true};
	struct pmem *a, *b;

	make_file(MIB(2));
	a = open_with(&rw);
	refused(&rw, -EBUSY, "in use");
	refused(&ro, -EBUSY, "in use");
	b = open_with(&off);
	pmem_free(b);
	pmem_free(a);
	a = open_with(&ro);
	b = open_with(&ro);
	refused(&rw, -EBUSY, ",ro");
	pmem_free(a);
	pmem_free(b);
	a = open_with(&rw);
	pmem_free(a);
}

Test(pmem, files_that_are_none)
{
	refused(&(struct pmem_opts){.path = "/nonexistent/file"}, -ENOENT, "truncate -s");
	refused(&(struct pmem_opts){.path = "/tmp", .ro = true}, -EINVAL, "neither");
	refused(&(struct pmem_opts){.path = "/dev/null"}, -EINVAL, "neither");
}

Test(pmem, no_right_to_write__hints_at_ro)
{
	make_file(MIB(2));
	cr_assert_eq(chmod(path, 0400), 0);
	if (geteuid() == 0 && seteuid(65534) < 0)
		cr_skip_test("root may always write, and can't be somebody else here");
	if (geteuid() == 65534)
		refused(&(struct pmem_opts){.path = path}, -EACCES, ",ro");
	if (getuid() == 0)
		cr_assert_eq(seteuid(0), 0);
}
