/* SPDX-License-Identifier: Apache-2.0 */
/* The VM's I/O threads: as many as configured, none for a machine without devices that need them.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "machine/vm_internal.h"
#include "sandbox/sandbox.h"

/* A ring's worth of requests for each of some queues; what is more waits in the loop. */
enum { REQUESTS_UNDER_WAY = 256 };

static int choose_engine(const struct vm_config *config, enum loop_engine *ret, struct err *err)
{
	struct err why = {0};
	int r;

	*ret = LOOP_EPOLL;
	if (config->io_engine == CONFIG_ENGINE_EPOLL)
		return 0;
	r = loop_probe_uring(&why);
	if (r == 0)
		*ret = LOOP_URING;
	else if (config->io_engine == CONFIG_ENGINE_URING)
		return err_set(err, r,
			       "--io-engine uring: %s; use --io-engine auto to go on with epoll",
			       why.msg);
	else
		log_info("I/O threads use epoll: %s", why.msg);
	return 0;
}

int vm_add_io_threads(struct vm *vm, struct err *err)
{
	struct io_thread_opts opts = {
		.loop = {.depth = REQUESTS_UNDER_WAY, .poll_ns = vm->config->iothreads.poll_ns}};
	int r = choose_engine(vm->config, &opts.loop.engine, err);

	for (unsigned i = 0; i < vm->config->iothreads.count && r == 0; i++) {
		opts.index = i;
		opts.cpu = config_pin_cpu(vm->config, i);
		r = io_thread_new(&opts, &vm->io_threads[i], err);
		if (r == 0) {
			vm->io_loops[i] = io_thread_loop(vm->io_threads[i]);
			vm->n_io_threads++;
		}
	}
	return r;
}

struct entry {
	struct io_thread_entry entry;
	enum sandbox_mode mode;
};

static int enter_io_role(const struct io_thread_entry *entry, struct err *err)
{
	const struct entry *e = (const void *)((const char *)entry - offsetof(struct entry, entry));

	return sandbox_enter_role(e->mode, SANDBOX_IO, err);
}

int vm_start_io_threads(struct vm *vm, struct err *err)
{
	struct entry e = {.entry.enter = enter_io_role, .mode = vm_sandbox_mode(vm->config)};
	int r = 0;

	for (unsigned i = 0; i < vm->n_io_threads && r == 0; i++)
		r = io_thread_start(vm->io_threads[i], &e.entry, err);
	return r;
}

void vm_stop_io_threads(struct vm *vm)
{
	for (unsigned i = 0; i < vm->n_io_threads; i++)
		io_thread_stop(vm->io_threads[i]);
}

void vm_free_io_threads(struct vm *vm)
{
	while (vm->n_io_threads > 0)
		(void)io_thread_free(vm->io_threads[--vm->n_io_threads]);
}
