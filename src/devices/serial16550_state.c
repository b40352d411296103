/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/serial16550_state.h"

static void save_fifo(const struct serial_state *now, struct state_writer *w)
{
	uint16_t breaks = 0;

	state_put_u8(w, (uint8_t)now->count);
	for (unsigned i = 0; i < FIFO_SIZE; i++) {
		unsigned slot = (now->head + i) % FIFO_SIZE;

		state_put_u8(w, i < now->count ? now->fifo[slot] : 0);
		if (now->breaks & slot_bit(slot))
			breaks |= slot_bit(i);
	}
	state_put_u16(w, breaks);
}

void serial_state_put(const struct serial_state *now, struct state_writer *w)
{
	state_put_u8(w, now->ier);
	state_put_u8(w, now->fcr);
	state_put_u8(w, now->lcr);
	state_put_u8(w, now->mcr);
	state_put_u8(w, now->msr);
	state_put_u8(w, now->scr);
	state_put_u8(w, now->dll);
	state_put_u8(w, now->dlm);
	state_put_u8(w, now->line_errors);
	state_put_bool(w, now->thre_pending);
	save_fifo(now, w);
	state_put_u32(w, now->polls);
	state_put_bool(w, now->polling);
	state_put_bool(w, now->rts_used);
	state_put_u8(w, now->last);
	state_put_u8(w, (uint8_t)now->ctrl_ds);
}

static struct serial_state read_state(struct state_reader *r)
{
	struct serial_state now = {0};

	now.ier = state_get_u8(r);
	now.fcr = state_get_u8(r);
	now.lcr = state_get_u8(r);
	now.mcr = state_get_u8(r);
	now.msr = state_get_u8(r);
	now.scr = state_get_u8(r);
	now.dll = state_get_u8(r);
	now.dlm = state_get_u8(r);
	now.line_errors = state_get_u8(r);
	now.thre_pending = state_get_bool(r);
	now.count = state_get_u8(r);
	state_get_bytes(r, now.fifo, sizeof(now.fifo));
	now.breaks = state_get_u16(r);
	now.polls = state_get_u32(r);
	now.polling = state_get_bool(r);
	now.rts_used = state_get_bool(r);
	now.last = state_get_u8(r);
	now.ctrl_ds = state_get_u8(r);
	return now;
}

static bool can_be(const struct serial_state *now)
{
	bool fcr = now->fcr & FCR_ENABLE ? !(now->fcr & FCR_CLEAR_RX) : now->fcr == 0;

	return fcr && now->ier <= IER_ALL && now->mcr <= MCR_ALL &&
	       !(now->line_errors & ~LSR_ERRORS) && now->count <= FIFO_SIZE &&
	       !(now->breaks >> now->count) && now->ctrl_ds <= 2;
}

bool serial_state_get(struct state_reader *r, struct serial_state *ret)
{
	struct serial_state now = read_state(r);

	if (!can_be(&now)) {
		state_fail(r, "a register that no serial port can have");
		return false;
	}
	*ret = now;
	return true;
}
