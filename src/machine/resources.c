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

static bool carries_console(const char *spec)
{
	return spec && strcmp(spec, "console") == 0;
}

static int open_ports(const struct vm_config *config, struct vm_resources *res, struct err *err)
{
	int r = 0;

	if (config->n_ports == 0)
		return 0;
	res->ports = calloc(config->n_ports, sizeof(struct chr *));
	if (!res->ports)
		return err_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < config->n_ports && r == 0; i++) {
		const char *stream = config->ports[i].stream;

		r = open_stream(stream ? stream : "none", "--port", &res->ports[i], err);
		if (r == 0)
			res->n_ports++;
	}
	return r;
}

static int open_streams(const struct vm_config *config, struct vm_resources *res, struct err *err)
{
	int r = 0;

	if (!carries_console(config->serial))
		r = open_stream(config->serial, "--serial", &res->serial, err);
	if (r == 0 && (carries_console(config->serial) || carries_console(config->hvc)))
		r = open_stream(config->console, "--console", &res->console, err);
	if (r == 0 && config->debugcon)
		r = open_stream(config->debugcon, "--debugcon", &res->debugcon, err);
	if (r == 0 && vm_has_hvc(config) && !carries_console(config->hvc))
		r = open_stream(config->hvc, "--hvc", &res->hvc, err);
	return r < 0 ? r : open_ports(config, res, err);
}

enum { FIXED_STREAMS = 4 };

unsigned vm_n_streams(const struct vm_resources *res)
{
	return FIXED_STREAMS + res->n_ports;
}

struct chr *vm_stream(const struct vm_resources *res, unsigned index)
{
	struct chr *const fixed[FIXED_STREAMS] = {res->console, res->serial, res->debugcon,
						  res->hvc};

	return index < FIXED_STREAMS ? fixed[index] : res->ports[index - FIXED_STREAMS];
}

bool vm_has_hvc(const struct vm_config *config)
{
	return config->hvc && strcmp(config->hvc, "none") != 0;
}

struct chr *vm_console_stream(const struct vm_config *config, const struct vm_resources *res)
{
	return carries_console(config->serial) || carries_console(config->hvc) ? res->console
									       : res->serial;
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

	*res = (struct vm_resources){.host.fd = -1,
				     .kernel.fd = -1,
				     .initrd.fd = -1,
				     .backends.vsock = UNIX_LISTENER_NONE};
	r = open_kernel(config, res, err);
	if (r == 0)
		r = check_memory(config, err);
	if (check_only)
		return r < 0 ? r : vm_backends_check(config, err);
	if (r == 0)
		r = kvm_host_open(&res->host, err);
	if (r == 0)
		r = check_cpus(config, &res->host, err);
	if (r == 0)
		r = open_streams(config, res, err);
	if (r == 0)
		r = vm_backends_open(config, &res->backends, err);
	return r;
}

void vm_resources_close(struct vm_resources *res)
{
	res->console = chr_free(res->console);
	res->serial = chr_free(res->serial);
	res->debugcon = chr_free(res->debugcon);
	res->hvc = chr_free(res->hvc);
	while (res->n_ports > 0)
		(void)chr_free(res->ports[--res->n_ports]);
	free(res->ports);
	res->ports = NULL;
	res->kernel.fd = fd_close(res->kernel.fd);
	res->initrd.fd = fd_close(res->initrd.fd);
	vm_backends_close(&res->backends);
	kvm_host_close(&res->host);
	free(res->cmdline);
	res->cmdline = NULL;
}

struct path_list {
	const char **at;
	unsigned n;
};

static void add_path(struct path_list *list, const char *path)
{
	if (path && list->n + 1 < VM_RESOURCES_MAX_PATHS)
		list->at[list->n++] = path;
}

static void add_stream(struct path_list *list, const char *spec)
{
	static const char prefix[] = "unix=";

	if (spec && strncmp(spec, prefix, sizeof(prefix) - 1) == 0)
		add_path(list, spec + sizeof(prefix) - 1);
}

void vm_resources_writable_paths(const struct vm_config *config,
				 const char *ret[VM_RESOURCES_MAX_PATHS])
{
	struct path_list list = {.at = ret};

	add_stream(&list, config->console);
	add_stream(&list, config->serial);
	add_stream(&list, config->debugcon);
	add_stream(&list, config->hvc);
	for (unsigned i = 0; i < config->n_ports; i++)
		add_stream(&list, config->ports[i].stream);
	for (unsigned i = 0; i < config->n_nets; i++)
		if (config->nets[i].listen)
			add_path(&list, config_stream_path(&config->nets[i]));
	for (unsigned i = 0; i < config->n_vhost_users; i++)
		if (config->vhost_users[i].server)
			add_path(&list, config->vhost_users[i].path);
	if (config->vsock)
		add_path(&list, config->vsock->uds);
	ret[list.n] = NULL;
}
