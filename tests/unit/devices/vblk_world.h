/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio disk over a file, or over a disk whose answers the test gives, and its driver. */
#ifndef VMM_TESTS_VBLK_WORLD_H
#define VMM_TESTS_VBLK_WORLD_H

#include <linux/virtio_blk.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/blk_core.h"
#include "tests/unit/devices/vdev_world.h"

enum { VBLK_COMBINATIONS = 8, VBLK_POISON = 0xee }; /* packed, event_idx, indirect */
#define VBLK_SIZE MIB(4)

/* Feature bits that a usual driver takes. */
#define VBLK_USUAL                                                                                 \
	(VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) |                    \
	 VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) | VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) |                      \
	 VIRTIO_BIT(VIRTIO_BLK_F_MQ))

/* A disk that the test answers for. */
struct fake_blk {
	struct blk blk;
	atomic_int results[BLK_WRITE_ZEROES + 1]; /* by operation */
	atomic_bool keep;			  /* don't answer yet */
	atomic_uint n_stable;			  /* requests that must be stable */
	atomic_uint n_seen;
	/* Of the queue's loop: */
	struct blk_list kept;
	struct loop_work answer;
};

extern struct vdev_world w;
extern struct blk *vblk_blk;
extern struct fake_blk vblk_fake;
extern char vblk_path[64];

/* A file with a pattern: byte i is i / 512 + 1. The device isn't there yet. */
void vblk_begin(unsigned combination);
struct blk *vblk_open_file(bool ro, enum blk_cache cache);
/* size and info are the test's to change before a device is made of it. */
struct blk *vblk_open_fake(void);
/* All that is kept is answered, on the loop. */
void vblk_answer_kept(void);
struct virtio_dev *vblk_make(struct blk *blk, unsigned n_queues);
/* Quiesces, saves, frees device, loop and disk, and goes on with new ones. */
void vblk_replace(unsigned n_queues);
/* begin, open_file, make, take, up. */
void vblk_up(unsigned combination, unsigned n_queues, uint64_t features);
void vblk_end(void);

uint8_t vblk_pattern(uint64_t offset);
uint8_t vblk_file_byte(uint64_t offset);

/* Guest memory for a header. */
uint64_t vblk_header(uint32_t type, uint64_t sector);
/* What the status byte is before the device has written it. */
uint64_t vblk_status(void);
uint8_t vblk_byte(uint64_t gpa);

/* A request in three segments (two without data) from beginning to end: its status. What the device
 * says it has written is in vblk_used. */
extern uint32_t vblk_used;
uint8_t vblk_do(unsigned queue, uint32_t type, uint64_t sector, uint64_t data, uint32_t len);
/* One that the device only reads. */
struct vblk_range {
	uint64_t sector;
	uint32_t sectors, flags;
};
uint8_t vblk_ranges(uint32_t type, const struct vblk_range *ranges, unsigned n);
/* The same without waiting for it. The status will be at the address. */
uint64_t vblk_add(unsigned queue, uint32_t type, uint64_t sector, uint64_t data, uint32_t len);

#endif
