/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"

int vhost_kernel_probe(const char *path, uint64_t *ret_features)
{
	/* Not blocking: path may turn out to be a FIFO. */
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	__u64 features = 0;

	if (fd < 0 || ioctl(fd, VHOST_GET_FEATURES, &features) != 0)
		return -errno;
	*ret_features = features;
	return 0;
}
