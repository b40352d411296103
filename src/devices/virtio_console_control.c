/* SPDX-License-Identifier: Apache-2.0 */
/* Control messages (virtio 1.2, 5.3.6.2). */
#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "base/endian.h"
#include "base/log.h"
#include "devices/virtio_console_internal.h"

enum { MESSAGE_LEN = 8, MESSAGE_MAX = MESSAGE_LEN + VIRTIO_CONSOLE_NAME_MAX };

static_assert(sizeof(struct virtio_console_control) == MESSAGE_LEN, "virtio 1.2, 5.3.6.2");

/* ---- to the guest ---- */

static bool has_several_ports(const struct virtio_console *console)
{
	return virtio_dev_has(&console->virtio, VIRTIO_CONSOLE_F_MULTIPORT);
}

static size_t put_message(uint8_t *to, uint32_t id, unsigned event, unsigned value)
{
	put_le32(to, id);
	put_le16(to + 4, (uint16_t)event);
	put_le16(to + 6, (uint16_t)value);
	return MESSAGE_LEN;
}

/* struct virtio_console_resize. Linux before 6.15 takes the one for the other. */
static size_t put_size(const struct virtio_console *console, uint8_t *to)
{
	put_le16(to, console->cols);
	put_le16(to + 2, console->rows);
	return 4;
}

static size_t put_name(const struct port *port, uint8_t *to)
{
	size_t len = strlen(port->name);

	memcpy(to, port->name, len);
	return len;
}

/* The first thing to be told of a port, which is then told. Its length. */
static size_t next_message(struct port *port, uint8_t *to)
{
	unsigned what = port->now.tell & -port->now.tell;
	size_t len;

	port->now.tell &= ~what;
	switch (what) {
	case TELL_ADD:
		return put_message(to, port->id, VIRTIO_CONSOLE_PORT_ADD, 1);
	case TELL_CONSOLE:
		return put_message(to, port->id, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
	case TELL_NAME:
		len = put_message(to, port->id, VIRTIO_CONSOLE_PORT_NAME, 1);
		return len + put_name(port, to + len);
	case TELL_RESIZE:
		len = put_message(to, port->id, VIRTIO_CONSOLE_RESIZE, 0);
		return len + put_size(port->console, to + len);
	default:
		port->now.told_open = chr_has_peer(port->chr);
		return put_message(to, port->id, VIRTIO_CONSOLE_PORT_OPEN, port->now.told_open);
	}
}

static struct port *port_to_tell_of(struct virtio_console *console)
{
	for (unsigned i = 0; i < console->n_ports; i++)
		if (console->ports[i].now.tell)
			return &console->ports[i];
	return NULL;
}

static bool send_one(struct virtio_queue *q)
{
	struct virtio_console *console = console_of(q->dev);
	struct port *port = port_to_tell_of(console);
	uint8_t message[MESSAGE_MAX];
	struct virtq_chain chain;
	struct iov to;
	size_t len;

	if (!port || !virtio_queue_pop(q, &chain, console->popped, console->queue_size))
		return false;
	len = next_message(port, message);
	if (chain.in_bytes < len) {
		virtio_queue_broken(q, "a buffer for control messages is too small");
		return false;
	}
	to = (struct iov){.at = chain.iov + chain.n_out, .n = chain.n_in};
	virtio_queue_done(q, &chain, (uint32_t)iov_copy_in(&to, message, len));
	device_count_own(&console->control_messages, 1);
	return true;
}

void console_control_send(struct virtio_console *console)
{
	if (console->control_runs && has_several_ports(console))
		virtio_queue_drain(&console->virtio.queues[QUEUE_CONTROL_RX], send_one);
}

void console_control_tell(struct port *port, unsigned what)
{
	port->now.tell |= what;
	console_control_send(port->console);
}

/* ---- from the guest ---- */

static void driver_is_ready(struct virtio_console *console, bool ready)
{
	for (unsigned i = 0; i < console->n_ports && ready; i++)
		console->ports[i].now.tell |= TELL_ADD;
}

static void port_is_ready(struct port *port, bool ready)
{
	const struct virtio_console *console = port->console;

	port->now.ready = ready;
	if (!ready)
		return;
	if (port->is_console)
		port->now.tell |= TELL_CONSOLE;
	if (port->is_console && console->cols && console->rows)
		port->now.tell |= TELL_RESIZE;
	if (port->name)
		port->now.tell |= TELL_NAME;
	if (chr_has_peer(port->chr) != port->now.told_open)
		port->now.tell |= TELL_OPEN;
}

static void take_message(struct virtio_console *console, const uint8_t *message)
{
	uint32_t id = get_le32(message);
	unsigned event = get_le16(message + 4);
	bool value = get_le16(message + 6) != 0;

	if (event == VIRTIO_CONSOLE_DEVICE_READY) {
		driver_is_ready(console, value);
		return;
	}
	if (id >= console->n_ports) {
		log_guest("%s: a control message for port %u, which there is not",
			  console->virtio.dev.id, id);
		return;
	}
	if (event == VIRTIO_CONSOLE_PORT_READY) {
		port_is_ready(&console->ports[id], value);
	} else if (event == VIRTIO_CONSOLE_PORT_OPEN) {
		console->ports[id].now.open = value;
		console_port_resume(&console->ports[id]);
	}
}

static bool receive_one(struct virtio_queue *q)
{
	struct virtio_console *console = console_of(q->dev);
	uint8_t message[MESSAGE_LEN];
	struct virtq_chain chain;
	struct iov from;

	if (!virtio_queue_pop(q, &chain, console->popped, console->queue_size))
		return false;
	from = (struct iov){.at = chain.iov, .n = chain.n_out};
	if (iov_copy_out(&from, message, sizeof(message)) == sizeof(message))
		take_message(console, message);
	else
		log_guest("%s: a control message that is cut off", console->virtio.dev.id);
	virtio_queue_done(q, &chain, 0);
	device_count_own(&console->control_messages, 1);
	return true;
}

void console_control_receive(struct virtio_console *console)
{
	virtio_queue_drain(&console->virtio.queues[QUEUE_CONTROL_TX], receive_one);
	console_control_send(console);
}
