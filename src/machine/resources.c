/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/resources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "kvm/x86/cpuid.h"
#include "mm/ram.h"

/* O_NONBLOCK so that a FIFO is refused and not waited for. */
static int open_file(const char *path, const char *option, struct boot_file *ret, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return err_set(err, -errno, "%s %s: %s", option, path, strerror(errno));
	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "%s %s: %s", option, path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR, "%s %s: is a directory; give the file in it", option,
			       path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s %s: is not a regular file; copy it into one first",
			       option, path);
	*ret = (struct boot_file){.fd = TAKE_FD(fd), .name = path, .size = (uint64_t)st.st_size};
	return 0;
}

static int check_cmdline(const struct vm_resources *res, struct err *err)
{
	uint32_t limit;
	int r = boot_cmdline_limit(&res->kernel, &limit, err);

	if (r < 0)
		return r;
	if (strlen(res->cmdline) <= limit)
		return 0;
	return err_set(err, -E2BIG,
		       "--append: the command line has %zu bytes and this kernel takes at most %u; "
		       "shorten it",
		       strlen(res->cmdline), limit);
}

static int check_protocol(const struct vm_config *config, const struct vm_resources *res,
			  struct err *err)
{
	if (config->kernel.protocol == CONFIG_PROTOCOL_PVH && res->kernel_kind != KERNEL_ELF_PVH)
		return err_set(
			err, -EINVAL,
			"--protocol pvh: %s %s; leave --protocol out, or give an ELF kernel built "
			"with CONFIG_PVH",
			config->kernel.path,
			res->kernel_kind == KERNEL_BZIMAGE ? "is a bzImage" : "has no PVH note");
	return 0;
}

static int open_kernel(const struct vm_config *config, struct vm_resources *res, struct err *err)
{
	int r = open_file(config->kernel.path, "--kernel", &res->kernel, err);

	if (r == 0 && config->kernel.initrd)
		r = open_file(config->kernel.initrd, "--initrd", &res->initrd, err);
	if (r == 0)
		r = boot_identify(&res->kernel, &res->kernel_kind, err);
	if (r == 0)
		r = check_protocol(config, res, err);
	if (r < 0)
		return r;
	res->cmdline = config_cmdline(config);
	if (!res->cmdline)
		return err_set(err, -ENOMEM, "out of memory");
	return check_cmdline(res, err);
}

static int open_stream(const char *spec_text, const char *option, struct chr **ret, struct err *err)
{
	struct chr_spec spec;
	int r = chr_spec_parse(spec_text, &spec, err);

	if (r < 0) {
		err_prefix(err, "%s", option);
		return r;
	}
	return chr_open(&spec, option, ret, err);
}

static int open_streams(const struct vm_config *config, struct vm_resources *res, struct err *err)
{
	bool own_serial = strcmp(config->serial, "console") != 0;
	int r;

	if (own_serial)
		r = open_stream(config->serial, "--serial", &res->serial, err);
	else
		r = open_stream(config->console, "--console", &res->console, err);
	if (r == 0 && config->debugcon)
		r = open_stream(config->debugcon, "--debugcon", &res->debugcon, err);
	return r;
}

static int check_memory(const struct vm_config *config, struct err *err)
{
	struct mm_ram_opts opts = {.size = config->memory.size,
				   .page_size = config->memory.hugepages};

	return mm_ram_check(&opts, err);
}

static int check_cpus(const struct vm_config *config, const struct kvm_host *host, struct err *err)
{
	enum { LAST_XAPIC_ID = 254 };
	struct config_topology t = config_topology(config);
	struct cpu_topology topology = {
		.sockets = t.sockets, .cores = t.cores, .threads = t.threads};
	uint32_t last = cpu_topology_apic_id(&topology, config->cpus.boot - 1);

	if ((int)config->cpus.boot > host->max_vcpus)
		return err_set(err, -EINVAL, "--cpus %u: this host's KVM runs at most %d",
			       config->cpus.boot, host->max_vcpus);
	if (last > LAST_XAPIC_ID)
		return err_set(
			err, -EINVAL,
			"--cpus %u: with %u sockets of %u cores and %u threads the last APIC id "
			"would be %u, and %d is the highest; make cores and threads powers of two",
			config->cpus.boot, t.sockets, t.cores, t.threads, last, LAST_XAPIC_ID);
	return 0;
}

int vm_resources_open(const struct vm_config *config, bool check_only, struct vm_resources *res,
		      struct err *err)
{
	int r;

	*res = (struct vm_resources){.host.fd = -1, .kernel.fd = -1, .initrd.fd = -1};
	r = open_kernel(config, res, err);
	if (r == 0)
		r = check_memory(config, err);
	if (check_only)
		return r;
	if (r == 0)
		r = kvm_host_open(&res->host, err);
	if (r == 0)
		r = check_cpus(config, &res->host, err);
	if (r == 0)
		r = open_streams(config, res, err);
	return r;
}

void vm_resources_close(struct vm_resources *res)
{
	res->console = chr_free(res->console);
	res->serial = chr_free(res->serial);
	res->debugcon = chr_free(res->debugcon);
	res->kernel.fd = fd_close(res->kernel.fd);
	res->initrd.fd = fd_close(res->initrd.fd);
	kvm_host_close(&res->host);
	free(res->cmdline);
	res->cmdline = NULL;
}

void vm_resources_writable_paths(const struct vm_config *config,
				 const char *ret[VM_RESOURCES_MAX_PATHS])
{
	static const char prefix[] = "unix=";
	const char *const specs[] = {config->console, config->serial, config->debugcon};
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
		if (specs[i] && strncmp(specs[i], prefix, sizeof(prefix) - 1) == 0)
			ret[n++] = specs[i] + sizeof(prefix) - 1;
	ret[n] = NULL;
}
