/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of virtio-console share: its ports, and control messages about them. Main. */
#ifndef VMM_DEVICES_VIRTIO_CONSOLE_INTERNAL_H
#define VMM_DEVICES_VIRTIO_CONSOLE_INTERNAL_H

#include <linux/virtio_console.h>

#include "backend/chr.h"
#include "base/iov.h"
#include "devices/virtio_console.h"
#include "virtio/virtio.h"

enum { QUEUE_CONTROL_RX = 2, QUEUE_CONTROL_TX = 3 };

/* What the guest is to be told of a port, in this order. */
enum {
	TELL_ADD = 1 << 0,
	TELL_CONSOLE = 1 << 1,
	TELL_NAME = 1 << 2,
	TELL_RESIZE = 1 << 3,
	TELL_OPEN = 1 << 4,
};

/* What a driver can tell apart, and what the tellings left. */
struct port_state {
	bool ready; /* the driver knows it */
	bool open;  /* a program of the guest has it open */
	bool told_open;
	unsigned tell;
	uint8_t last;	  /* the last byte of the input */
	unsigned ctrl_ds; /* still to be given to the guest */
};

struct port {
	struct virtio_console *console;
	unsigned id;
	char *name;
	bool is_console;
	struct virtio_console_tap *tap;
	struct chr *chr;
	struct chr_rx rx;
	struct chr_tx tx;
	struct port_state now;
	bool at_eof;

	bool rx_runs, tx_runs;
	bool refused;	      /* the stream has more, and waits for chr_rx_resume() */
	const uint8_t *input; /* while it is given to the guest */
	size_t n_input;

	/* The output: one chain after another, so much of it in a turn. */
	struct iovec *popped; /* queue_size */
	struct virtq_chain chain;
	bool has_chain;
	struct iov left; /* of it */
	uint64_t budget;
	struct loop_work more; /* the budget was used up */
};

struct virtio_console {
	struct virtio_dev virtio; /* first, for DEVICE_STAT */
	struct loop *loop;
	uint16_t queue_size;
	uint16_t cols, rows;
	struct iovec *popped; /* queue_size; of all but output */
	struct port *ports;
	unsigned n_ports;
	bool control_runs; /* the queue to the guest */
	/* The driver has reset the device, on whatever thread: main forgets what it had set. */
	_Atomic bool forget;
	_Atomic uint64_t rx_bytes, tx_bytes, dropped_bytes, control_messages;
};

static inline struct virtio_console *console_of(struct virtio_dev *dev)
{
	return container_of(dev, struct virtio_console, virtio);
}

/* Says so when there is a queue for it, and the driver knows more than one port. */
void console_control_send(struct virtio_console *console);
void console_control_receive(struct virtio_console *console);
/* The driver is to hear of this. */
void console_control_tell(struct port *port, unsigned what);

/* Input may go on, or begin. */
void console_port_resume(struct port *port);

#endif
