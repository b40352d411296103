/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds without input: file=PATH and none. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "backend/chr_core.h"

static int file_open(struct chr *chr, const char *path, struct err *err)
{
	/* O_NONBLOCK changes nothing on a regular file; it keeps a FIFO or a device from blocking
	 * us. */
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);

	if (fd < 0 && errno == ENXIO)
		return err_set(
			err, -ENXIO,
			"%s: nobody reads from the FIFO or device '%s'; start the reader first",
			chr->what, path);
	if (fd < 0)
		return err_set(err, -errno, "%s: cannot write to file '%s': %s", chr->what, path,
			       strerror(errno));
	chr_out_attach(&chr->out, (struct chr_fd){.fd = fd, .how = CHR_FD_PLAIN, .owned = true});
	return chr_set_description(chr, err, "file %s", path);
}

static int none_open(struct chr *chr, const char *path, struct err *err)
{
	(void)path;
	chr_out_kill(&chr->out);
	return chr_set_description(chr, err, "none");
}

const struct chr_kind_ops chr_file_ops = {.open = file_open};
const struct chr_kind_ops chr_none_ops = {.open = none_open};
