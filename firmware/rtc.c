/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the CMOS clock (MC146818A) until two readings agree and prints it as seconds since 1970. */
#include "abi.h"

#include "rt/guest.h"
#include "rt/io.h"
#include "rt/mem.h"
#include "rt/print.h"

enum {
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_D = 0x0d,
	REG_CENTURY = 0x32,
	A_UPDATING = 0x80,
	B_24_HOURS = 0x02,
	B_BINARY = 0x04,
	D_VALID = 0x80,
	HOUR_PM = 0x80,
	MAX_TRIES = 10,
	MAX_POLLS = 10000, /* an update takes 2 ms at most */
};

enum field { SECOND, MINUTE, HOUR, DAY, MONTH, YEAR, CENTURY, N_FIELDS };

struct reading {
	uint8_t field[N_FIELDS];
};

static const uint8_t regs[N_FIELDS] = {0, 2, 4, 7, 8, 9, REG_CENTURY};

static uint8_t cmos(uint8_t reg)
{
	outb(VMM_RTC_INDEX_PORT, reg);
	return inb(VMM_RTC_DATA_PORT);
}

static struct reading read_once(void)
{
	struct reading r;

	for (unsigned i = 0; i < MAX_POLLS && cmos(REG_A) & A_UPDATING; i++)
		;
	for (unsigned i = 0; i < N_FIELDS; i++)
		r.field[i] = cmos(regs[i]);
	return r;
}

static bool read_stable(struct reading *ret)
{
	struct reading before = read_once();

	for (unsigned i = 0; i < MAX_TRIES; i++) {
		*ret = read_once();
		if (!memcmp(&before, ret, sizeof(before)))
			return true;
		before = *ret;
	}
	return false;
}

static unsigned number(uint8_t value, uint8_t reg_b)
{
	return reg_b & B_BINARY ? value : (value >> 4) * 10U + (value & 15);
}

static unsigned hour(uint8_t value, uint8_t reg_b)
{
	if (reg_b & B_24_HOURS)
		return number(value, reg_b);
	return number(value & (HOUR_PM - 1), reg_b) % 12 + (value & HOUR_PM ? 12 : 0);
}

/* Days since 1970-01-01 of a Gregorian date, with years that begin in March. */
static uint64_t days(unsigned year, unsigned month, unsigned day)
{
	unsigned y = month > 2 ? year : year - 1;
	unsigned m = month > 2 ? month - 3 : month + 9;

	return 365ULL * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

int guest_main(const struct pvh_start_info *info)
{
	unsigned v[N_FIELDS];
	struct reading r;
	uint8_t reg_b;
	bool ok;

	guest_init(info);
	ok = guest_check(cmos(REG_D) == D_VALID, "the clock is there and valid");
	if (!ok || !guest_check(read_stable(&r), "two readings agree"))
		return guest_finish("rtc", false);
	reg_b = cmos(REG_B);
	for (unsigned i = 0; i < N_FIELDS; i++)
		v[i] = i == HOUR ? hour(r.field[i], reg_b) : number(r.field[i], reg_b);
	print("rtc %02u%02u-%02u-%02u %02u:%02u:%02u\n", v[CENTURY], v[YEAR], v[MONTH], v[DAY],
	      v[HOUR], v[MINUTE], v[SECOND]);
	print("epoch %lu\n",
	      ((days(v[CENTURY] * 100 + v[YEAR], v[MONTH], v[DAY]) * 24 + v[HOUR]) * 60 +
	       v[MINUTE]) * 60 +
		      v[SECOND]);
	return guest_finish("rtc", ok);
}
