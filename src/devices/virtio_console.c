/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio_console.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checked.h"
#include "base/endian.h"
#include "devices/virtio_console_internal.h"

enum {
	CTRL_D = 0x04,
	CONFIG_LEN = 12,       /* struct virtio_console_config */
	TURN_BYTES = 64 << 10, /* of a port's output; the loop has others to serve */
	TELL_ALL = TELL_ADD | TELL_CONSOLE | TELL_NAME | TELL_RESIZE | TELL_OPEN,
};

static_assert(4 + 2 * (VIRTIO_CONSOLE_MAX_PORTS - 1) <= VIRTIO_MAX_QUEUES, "5.3.2");
static_assert((int)TURN_BYTES <= (int)CHR_ROOM_MAX, "a stream can be asked for room for a piece");

/* ---- ports and their queues (5.3.2) ---- */

static bool is_control(const struct virtio_queue *q)
{
	return q->index == QUEUE_CONTROL_RX || q->index == QUEUE_CONTROL_TX;
}

/* Of a queue that is not for control messages. */
static struct port *port_of(struct virtio_queue *q)
{
	return &console_of(q->dev)->ports[q->index < 2 ? 0 : q->index / 2 - 1];
}

/* The even ones are to the guest. */
static bool is_rx(const struct virtio_queue *q)
{
	return q->index % 2 == 0;
}

static struct virtio_queue *rx_queue(const struct port *port)
{
	return &port->console->virtio.queues[port->id == 0 ? 0 : port->id * 2 + 2];
}

static struct virtio_queue *tx_queue(const struct port *port)
{
	return rx_queue(port) + 1;
}

static void forget_port(struct port *port)
{
	port->now = (struct port_state){.last = port->now.last};
	if (port->at_eof)
		port->now.ctrl_ds = port->now.last == '\n' || port->now.last == '\r' ? 1 : 2;
}

/* Every way in begins with it. */
static void catch_up(struct virtio_console *console)
{
	if (!atomic_exchange(&console->forget, false))
		return;
	for (unsigned i = 0; i < console->n_ports; i++)
		forget_port(&console->ports[i]);
}

/* ---- to the guest ---- */

static bool listens(const struct port *port)
{
	return port->rx_runs && (port->now.open || !virtio_dev_has(&port->console->virtio,
								   VIRTIO_CONSOLE_F_MULTIPORT));
}

static bool give_one(struct virtio_queue *q)
{
	struct port *port = port_of(q);
	struct virtio_console *console = port->console;
	struct virtq_chain chain;
	struct iov to;
	size_t n;

	if (port->n_input == 0 ||
	    !virtio_queue_pop(q, &chain, console->popped, console->queue_size))
		return false;
	to = (struct iov){.at = chain.iov + chain.n_out, .n = chain.n_in};
	n = iov_copy_in(&to, port->input, port->n_input);
	if (n == 0) {
		virtio_queue_broken(q, "a receive buffer has no room");
		return false;
	}
	port->input += n;
	port->n_input -= n;
	virtio_queue_done(q, &chain, (uint32_t)n);
	device_count_own(&console->rx_bytes, n);
	return true;
}

/* How many bytes the guest had room for. */
static size_t give(struct port *port, const uint8_t *bytes, size_t n)
{
	if (!listens(port))
		return 0;
	port->input = bytes;
	port->n_input = n;
	virtio_queue_drain(rx_queue(port), give_one);
	n -= port->n_input;
	port->n_input = 0;
	return n;
}

static void give_ctrl_ds(struct port *port)
{
	static const uint8_t ctrl_d = CTRL_D;

	while (port->now.ctrl_ds > 0 && give(port, &ctrl_d, 1) == 1)
		port->now.ctrl_ds--;
}

void console_port_resume(struct port *port)
{
	if (!listens(port))
		return;
	give_ctrl_ds(port);
	if (port->refused) {
		port->refused = false;
		chr_rx_resume(port->chr);
	}
}

static size_t on_bytes(struct chr_rx *rx, const uint8_t *bytes, size_t n)
{
	struct port *port = container_of(rx, struct port, rx);
	size_t taken;

	catch_up(port->console);
	taken = give(port, bytes, n);
	if (taken > 0)
		port->now.last = bytes[taken - 1];
	port->refused = taken < n;
	return taken;
}

static void on_eof(struct chr_rx *rx)
{
	struct port *port = container_of(rx, struct port, rx);

	catch_up(port->console);
	if (!port->is_console)
		return;
	port->at_eof = true;
	port->now.ctrl_ds = port->now.last == '\n' || port->now.last == '\r' ? 1 : 2;
	give_ctrl_ds(port);
}

/* ---- from the guest ---- */

/* The first n bytes of what is left of the chain. */
static void put(struct port *port, uint64_t n)
{
	struct virtio_console *console = port->console;
	struct iov_cut cut = iov_cut(&port->left, n);

	for (unsigned i = 0; i < port->left.n; i++) {
		const struct iovec *v = &port->left.at[i];
		size_t taken = chr_write(port->chr, v->iov_base, v->iov_len);

		device_count_own(&console->tx_bytes, v->iov_len);
		device_count_own(&console->dropped_bytes, v->iov_len - taken);
		if (port->tap)
			port->tap->bytes(port->tap, v->iov_base, v->iov_len);
	}
	iov_skip(&port->left, n);
	iov_uncut(&port->left, &cut);
	port->budget -= n;
	tx_queue(port)->begun += n;
}

/* Only a port that is no console waits for room. */
static bool may_put(struct port *port, uint64_t n)
{
	if (n > port->budget) {
		loop_defer_next(port->console->loop, &port->more);
		return false;
	}
	return port->is_console || chr_has_room(port->chr, (size_t)n);
}

/* True when all of it is out. A piece is as large as a turn allows: what is smaller is in one. */
static bool put_chain(struct port *port)
{
	while (port->left.n > 0) {
		uint64_t n = MIN(iov_bytes(&port->left), (uint64_t)TURN_BYTES);

		if (!may_put(port, n))
			return false;
		put(port, n);
	}
	return true;
}

/* A chain that was given back half done goes on where it was. */
static bool take_chain(struct port *port, struct virtio_queue *q)
{
	if (!virtio_queue_pop(q, &port->chain, port->popped, port->console->queue_size))
		return false;
	port->has_chain = true;
	port->left = (struct iov){.at = port->chain.iov, .n = port->chain.n_out};
	iov_skip(&port->left, q->begun);
	return true;
}

static bool take_one(struct virtio_queue *q)
{
	struct port *port = port_of(q);

	if ((!port->has_chain && !take_chain(port, q)) || !put_chain(port))
		return false;
	port->has_chain = false;
	q->begun = 0;
	virtio_queue_done(q, &port->chain, 0);
	return true;
}

static void take_all(struct port *port)
{
	virtio_queue_drain(tx_queue(port), take_one);
	if (!port->is_console)
		chr_push(port->chr);
}

static void on_more(struct loop_work *work)
{
	struct port *port = container_of(work, struct port, more);

	catch_up(port->console);
	port->budget = TURN_BYTES;
	if (port->tx_runs)
		take_all(port);
}

static void on_room(struct chr_tx *tx)
{
	struct port *port = container_of(tx, struct port, tx);

	catch_up(port->console);
	if (port->tx_runs)
		take_all(port);
}

static void on_peer(struct chr_tx *tx, bool there)
{
	struct port *port = container_of(tx, struct port, tx);

	catch_up(port->console);
	if (port->now.ready && there != port->now.told_open)
		console_control_tell(port, TELL_OPEN);
}

/* ---- queues ---- */

static void set_running(struct virtio_queue *q, bool runs)
{
	if (q->index == QUEUE_CONTROL_RX)
		console_of(q->dev)->control_runs = runs;
	else if (is_control(q))
		; /* nobody asks */
	else if (is_rx(q))
		port_of(q)->rx_runs = runs;
	else
		port_of(q)->tx_runs = runs;
}

static void console_queue_start(struct virtio_queue *q)
{
	catch_up(console_of(q->dev));
	set_running(q, true);
}

static void console_queue_kick(struct virtio_queue *q)
{
	struct virtio_console *console = console_of(q->dev);

	catch_up(console);
	if (q->index == QUEUE_CONTROL_RX)
		console_control_send(console);
	else if (q->index == QUEUE_CONTROL_TX)
		console_control_receive(console);
	else if (is_rx(q))
		console_port_resume(port_of(q));
	else
		take_all(port_of(q));
}

/* The chain that is under way waits in the queue, and q->begun keeps what is out already. */
static void give_back(struct port *port, struct virtio_queue *q)
{
	if (port->has_chain && !q->vq.broken)
		virtq_unpop(&q->vq, &port->chain);
	port->has_chain = false;
}

static void console_queue_stop(struct virtio_queue *q)
{
	set_running(q, false);
	if (!is_control(q) && !is_rx(q))
		give_back(port_of(q), q);
	virtio_queue_stopped(q);
}

static void console_reset(struct virtio_dev *dev)
{
	atomic_store(&console_of(dev)->forget, true);
}

/* ---- saved state ---- */

static void console_save(struct virtio_dev *dev, struct state_writer *w)
{
	struct virtio_console *console = console_of(dev);

	catch_up(console);
	state_put_u32(w, console->n_ports);
	for (unsigned i = 0; i < console->n_ports; i++) {
		const struct port_state *now = &console->ports[i].now;

		state_put_bool(w, now->ready);
		state_put_bool(w, now->open);
		state_put_bool(w, now->told_open);
		state_put_u8(w, (uint8_t)now->tell);
		state_put_u8(w, now->last);
		state_put_u8(w, (uint8_t)now->ctrl_ds);
		state_put_u64(w, tx_queue(&console->ports[i])->begun);
	}
}

static struct port_state read_port(struct state_reader *r)
{
	struct port_state now = {0};

	now.ready = state_get_bool(r);
	now.open = state_get_bool(r);
	now.told_open = state_get_bool(r);
	now.tell = state_get_u8(r);
	now.last = state_get_u8(r);
	now.ctrl_ds = state_get_u8(r);
	if ((now.tell & ~(unsigned)TELL_ALL) || now.ctrl_ds > 2)
		state_fail(r, "a state that no port can have");
	now.tell &= TELL_ALL;
	return now;
}

/* The terminal and the clients are those of this process: the driver is told what has changed. */
static void adopt(struct port *port, const struct port_state *now)
{
	port->now = *now;
	if (!port->name)
		port->now.tell &= ~(unsigned)TELL_NAME;
	if (now->ready && port->is_console && port->console->cols && port->console->rows)
		port->now.tell |= TELL_RESIZE;
	if (now->ready && chr_has_peer(port->chr) != now->told_open)
		port->now.tell |= TELL_OPEN;
}

static void put_config(const struct virtio_console *console, uint8_t *to)
{
	put_le16(to, console->cols);
	put_le16(to + 2, console->rows);
	put_le32(to + 4, console->n_ports);
	put_le32(to + 8, 0);
}

static void console_load(struct virtio_dev *dev, struct state_reader *r)
{
	struct virtio_console *console = console_of(dev);

	if (state_get_u32(r) != console->n_ports) {
		state_fail(r, "another number of ports");
		return;
	}
	for (unsigned i = 0; i < console->n_ports; i++) {
		struct port_state now = read_port(r);

		adopt(&console->ports[i], &now);
		tx_queue(&console->ports[i])->begun = state_get_u64(r);
	}
	mutex_lock(&dev->lock);
	put_config(console, dev->config);
	mutex_unlock(&dev->lock);
}

/* ---- what the user sees and does ---- */

void virtio_console_resize(struct virtio_dev *dev, uint16_t cols, uint16_t rows)
{
	struct virtio_console *console = console_of(dev);
	uint8_t size[4];

	catch_up(console);
	console->cols = cols;
	console->rows = rows;
	put_le16(size, cols);
	put_le16(size + 2, rows);
	virtio_dev_set_config(dev, 0, size, sizeof(size));
	for (unsigned i = 0; i < console->n_ports; i++)
		if (console->ports[i].is_console && console->ports[i].now.ready)
			console_control_tell(&console->ports[i], TELL_RESIZE);
}

static int verb_resize(struct device *dev, const struct device_value *values, struct err *err)
{
	(void)err;
	virtio_console_resize(container_of(dev, struct virtio_dev, dev), (uint16_t)values[0].number,
			      (uint16_t)values[1].number);
	return 0;
}

static const struct device_param resize_params[] = {
	{.name = "cols",
	 .type = DEVICE_PARAM_NUMBER,
	 .min = 1,
	 .max = UINT16_MAX,
	 .help = "characters in a line"},
	{.name = "rows", .type = DEVICE_PARAM_NUMBER, .min = 1, .max = UINT16_MAX, .help = "lines"},
};

static const struct device_verb verbs[] = {
	{.name = "resize",
	 .help = "tell the guest the size of its terminal",
	 .params = resize_params,
	 .n_params = ARRAY_SIZE(resize_params),
	 .run = verb_resize},
};

static const struct device_stat stats[] = {
	DEVICE_STAT(struct virtio_console, rx_bytes, "bytes to the guest, on all ports"),
	DEVICE_STAT(struct virtio_console, tx_bytes, "bytes from the guest, on all ports"),
	DEVICE_STAT(struct virtio_console, dropped_bytes,
		    "bytes from the guest that found no room"),
	DEVICE_STAT(struct virtio_console, control_messages, "control messages, both ways"),
};

/* ---- life ---- */

static void free_ports(struct virtio_console *console)
{
	for (unsigned i = 0; console->ports && i < console->n_ports; i++) {
		struct port *port = &console->ports[i];

		loop_work_cancel(console->loop, &port->more);
		if (port->chr) {
			chr_set_rx(port->chr, NULL);
			chr_set_tx(port->chr, NULL);
		}
		free(port->name);
		free(port->popped);
	}
	free(console->ports);
}

static void console_free(struct device *dev)
{
	struct virtio_console *console = console_of(container_of(dev, struct virtio_dev, dev));

	free_ports(console);
	virtio_dev_done(&console->virtio);
	free(console->popped);
	free(console);
}

static int init_port(struct port *port, const struct virtio_console_port *setup)
{
	if (setup->name)
		port->name = strdup(setup->name);
	port->popped = calloc(port->console->queue_size, sizeof(*port->popped));
	if (!port->popped || (setup->name && !port->name))
		return -ENOMEM;
	port->is_console = setup->console;
	port->tap = setup->tap;
	port->now.last = '\n'; /* no input at all ends no line */
	port->rx = (struct chr_rx){.bytes = on_bytes, .eof = on_eof};
	port->tx = (struct chr_tx){.room = on_room, .peer = on_peer};
	port->more.run = on_more;
	port->budget = TURN_BYTES;
	port->chr = setup->chr;
	chr_set_rx(port->chr, &port->rx);
	chr_set_tx(port->chr, &port->tx);
	return 0;
}

static int init_ports(struct virtio_console *console, const struct virtio_console_setup *setup)
{
	int r = 0;

	console->ports = calloc(setup->n_ports, sizeof(*console->ports));
	if (!console->ports)
		return -ENOMEM;
	console->n_ports = setup->n_ports;
	for (unsigned i = 0; i < setup->n_ports && r == 0; i++) {
		console->ports[i].console = console;
		console->ports[i].id = i;
		r = init_port(&console->ports[i], &setup->ports[i]);
	}
	return r;
}

static const struct device_ops device_ops = {
	VIRTIO_DEVICE_OPS,
	.free = console_free,
	.state_type = "virtio-console",
	.help = "virtio console",
	.stats = stats,
	.n_stats = ARRAY_SIZE(stats),
	.verbs = verbs,
	.n_verbs = ARRAY_SIZE(verbs),
};

static const struct virtio_dev_ops virtio_ops = {
	.queue_start = console_queue_start,
	.queue_kick = console_queue_kick,
	.queue_stop = console_queue_stop,
	.reset = console_reset,
	.save = console_save,
	.load = console_load,
};

static int init_virtio(struct virtio_console *console, const struct virtio_console_setup *setup)
{
	uint8_t config[CONFIG_LEN];
	uint64_t features = VIRTIO_FEATURES_COMMON | VIRTIO_BIT(VIRTIO_F_IN_ORDER) |
			    VIRTIO_BIT(VIRTIO_CONSOLE_F_SIZE) |
			    VIRTIO_BIT(VIRTIO_CONSOLE_F_MULTIPORT);
	struct virtio_dev_setup dev_setup = {
		.id = setup->id,
		.device = &device_ops,
		.ops = &virtio_ops,
		.type = VIRTIO_ID_CONSOLE,
		.features = setup->packed ? features : features & ~VIRTIO_BIT(VIRTIO_F_RING_PACKED),
		.map = setup->map,
		.config = config,
		.config_len = sizeof(config),
		.n_queues = 4 + 2 * (setup->n_ports - 1),
		.queue_size = setup->queue_size,
		.loops = &setup->loop,
		.n_loops = 1,
	};

	put_config(console, config);
	return virtio_dev_init(&console->virtio, &dev_setup);
}

int virtio_console_new(const struct virtio_console_setup *setup, struct virtio_dev **ret)
{
	struct virtio_console *console = calloc(1, sizeof(*console));
	int r;

	vmm_assert(setup->n_ports >= 1 && setup->n_ports <= VIRTIO_CONSOLE_MAX_PORTS);
	if (!console)
		return -ENOMEM;
	console->loop = setup->loop;
	console->queue_size = setup->queue_size;
	console->cols = setup->cols;
	console->rows = setup->rows;
	console->popped = calloc(setup->queue_size, sizeof(*console->popped));
	r = console->popped ? init_ports(console, setup) : -ENOMEM;
	if (r == 0)
		r = init_virtio(console, setup);
	if (r < 0) {
		console_free(&console->virtio.dev);
		return r;
	}
	*ret = &console->virtio;
	return 0;
}
