/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/chr_fd.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"
#include "control/api.h"
#include "control/events.h"
#include "control/fdstore.h"
#include "control/server.h"

/* What waits to be written at the end may take this long. */
enum { LAST_WORDS_MS = 200 };

struct control {
	struct control_options options;
	struct vm_listener listener;
	int socket_fd, fd_socket_fd;
	struct chr_fd events_fd; /* where --events goes, until events has it */
	struct events *events;
	struct fdstore *fds;
	struct api *api;
	struct server *server;
};

/* ---- before the lock-down ---- */

int control_take_fd(const char *events, int *ret, struct err *err)
{
	uint64_t number = 0;
	int flags, fd;

	*ret = -1;
	if (!events || strncmp(events, "fd:", 3) != 0)
		return 0;
	if (text_parse_uint(events + 3, &number) < 0 || number > INT_MAX)
		return err_set(err, -EINVAL,
			       "--events %s: say fd:N with the number of an open descriptor, or "
			       "./%s for a file of that name",
			       events, events);
	flags = fcntl((int)number, F_GETFL);
	if (flags < 0)
		return err_set(err, -EBADF, "--events %s: this descriptor is not open", events);
	if ((flags & O_ACCMODE) == O_RDONLY)
		return err_set(err, -EBADF, "--events %s: this descriptor is not open for writing",
			       events);
	fd = fcntl((int)number, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (fd < 0)
		return err_set(err, -errno, "--events %s: %s", events, strerror(errno));
	*ret = fd;
	return 0;
}

static int open_events_fd(const struct control_options *options, struct chr_fd *ret,
			  struct err *err)
{
	const char *path = options->config->events;
	int fd;

	*ret = CHR_FD_NONE;
	if (options->events_fd >= 0)
		*ret = chr_fd_inherit(options->events_fd, O_WRONLY);
	if (!path || options->events_fd >= 0)
		return 0;
	/* O_NONBLOCK: a FIFO that nobody reads is refused and not waited for. */
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		  0666);
	if (fd < 0)
		return err_set(err, -errno, "--events %s: %s", path,
			       errno == ENXIO ? "nobody reads this FIFO" : strerror(errno));
	*ret = (struct chr_fd){.fd = fd, .how = CHR_FD_PLAIN, .owned = true};
	return 0;
}

static int listen_at(const struct rundir *rundir, const char *file, int *ret, struct err *err)
{
	int fd = rundir_listen(rundir->dir_fd, file);

	if (fd < 0)
		return err_set(err, fd, "can't make the socket %s/%s: %s", rundir->path, file,
			       strerror(-fd));
	*ret = fd;
	return 0;
}

static int open_all(struct control *control, struct err *err)
{
	const struct rundir *rundir = control->options.rundir;
	int r;

	/* jansson seeds its hash tables from /dev/urandom, which can't be opened later. */
	json_object_seed(0);
	r = events_new(&control->events);

	if (r < 0)
		return err_set(err, r, "out of memory");
	r = open_events_fd(&control->options, &control->events_fd, err);
	if (r == 0 && rundir)
		r = listen_at(rundir, RUNDIR_SOCKET, &control->socket_fd, err);
	if (r == 0 && rundir)
		r = listen_at(rundir, RUNDIR_FD_SOCKET, &control->fd_socket_fd, err);
	return r;
}

int control_open(const struct control_options *options, struct control **ret, struct err *err)
{
	struct control *control = calloc(1, sizeof(*control));
	int r;

	if (!control)
		return err_set(err, -ENOMEM, "out of memory");
	control->options = *options;
	control->socket_fd = control->fd_socket_fd = -1;
	control->events_fd = CHR_FD_NONE;
	r = open_all(control, err);
	if (r < 0) {
		(void)control_free(control);
		return r;
	}
	*ret = control;
	return 0;
}

/* ---- the run ---- */

static void on_vm_event(struct vm_listener *listener, const struct vm_event *event)
{
	events_add(container_of(listener, struct control, listener)->events, event);
}

static int serve(struct control *control, struct vm *vm)
{
	struct loop *loop = vm_loop(vm);
	uid_t user = geteuid();
	struct api_parts parts = {
		.vm = vm,
		.config = control->options.config,
		.events = control->events,
		.detached = control->options.detached,
		.start_ns = control->options.start_ns,
		.start_unix_ms = control->options.start_unix_ms,
	};
	int r = fdstore_new(loop, control->fd_socket_fd, user, FDSTORE_IDLE_MS, &control->fds);

	parts.fds = control->fds;
	if (r == 0)
		r = api_new(&parts, &control->api);
	if (r == 0)
		r = server_new(loop, control->socket_fd, user, NULL, api_handler(control->api),
			       &control->server);
	if (r == 0)
		api_set_server(control->api, control->server);
	return r;
}

int control_start(struct control *control, struct vm *vm, struct err *err)
{
	int r;

	if (control->events_fd.fd >= 0)
		events_write_to(control->events, vm_loop(vm), control->events_fd);
	control->events_fd = CHR_FD_NONE;
	control->listener.event = on_vm_event;
	vm_set_listener(vm, &control->listener);
	if (control->socket_fd < 0)
		return 0;
	r = serve(control, vm);
	return r < 0 ? err_set(err, r, "the control socket can't be served: %s", strerror(-r)) : 0;
}

void control_stop(struct control *control)
{
	if (!control || !control->events)
		return;
	events_flush(control->events, LAST_WORDS_MS);
	control->server = server_free(control->server, LAST_WORDS_MS);
	control->api = api_free(control->api);
	control->fds = fdstore_free(control->fds);
	control->events = events_free(control->events);
}

struct control *control_free(struct control *control)
{
	if (!control)
		return NULL;
	control_stop(control);
	chr_fd_close(&control->events_fd);
	(void)fd_close(control->socket_fd);
	(void)fd_close(control->fd_socket_fd);
	free(control);
	return NULL;
}
