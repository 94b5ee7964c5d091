/*
 * QTest helpers: a guest that migrates, and the stream of its frames
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two QEMUs with a virtio NIC on a tap each, in a network namespace of the
 * test's own.  The test acts as the network, which sends numbered frames to the
 * taps; as the guest, whose libqos driver reads received frames from guest
 * memory, first in one QEMU and then in the other; and as a proxy for the
 * stream, which forwards data when a test case wants it to.
 *
 *             source                         destination
 *
 *   +------+    +------------+              +------------+    +------+
 *   | tap0 +----> virtio NIC |   migration  | virtio NIC <----+ tap1 |
 *   +--+---+    +------------+              +------------+    +--^---+
 *      |                                                         |
 *   +--v--------------+         here          +-----------------++
 *   | netdev-handover +---------->------------> netdev-takeover |
 *   +-----------------+                       +-----------------+
 */
#ifndef TESTS_QTEST_NETDEV_HANDOVER_RIG_H
#define TESTS_QTEST_NETDEV_HANDOVER_RIG_H

#include "netdev-handover-guest.h"

#define SOURCE_TAP "tap0"
#define DESTINATION_TAP "tap1"
#define ROOM 32
#define BACKLOG_END 64
#define RECORD_LEN (8 + VNET_HDR_LEN + FRAME_LEN)
#define END_LEN (8 + VNET_HDR_LEN)

extern const uint8_t other_mac[6];
extern const uint8_t group_mac[6];

typedef struct Rig {
    Vm source;
    Vm destination;         /* unless it has ended */
    Guest guest;            /* its driver was started at the source */
    int from;               /* our end of the source's stream */
    int to;                 /* our end of the destination's stream */
    int announcements;      /* a socket that receives them on DESTINATION_TAP */
} Rig;

/* Like g_test_init().  Returns: false, with a skipped test, without taps */
bool rig_test_init(int *argc, char ***argv);

/* Start a QEMU whose NIC is on @tap, with @more options */
void vm_start(Vm *vm, const char *tap, const char *more);

/*
 * Start both QEMUs, without handover; the guest has room for @room frames, and
 * its driver negotiates @features
 */
void rig_start(Rig *r, uint32_t room, uint64_t features);

/* Add the objects, the chardevs, and the stream between them */
void rig_add_handover(Rig *r);

/* Add only the source's object and chardev */
void rig_add_source(Rig *r);

/* End the source's connection, and give it a new one */
void rig_reconnect_source(Rig *r);

/* The same for the destination */
void rig_reconnect_destination(Rig *r);

/*
 * Start everything, with a guest that has a backlog: of the frames up to
 * BACKLOG_END, it has received ROOM; one is queued in QEMU, the rest in the tap
 */
void rig_start_behind(Rig *r);

/* The same with a driver that negotiates @features */
void rig_start_behind_with(Rig *r, uint64_t features);

/* Start a migration, with the capabilities set before */
void rig_migrate(Rig *r);

/* End all */
void rig_stop(Rig *r);

/* Send frames @first up to @end to @tap, with these addresses */
void network_send_as(const char *tap, uint32_t first, uint32_t end,
                     const uint8_t *to, const uint8_t *from);

/* Send such frames to the guest */
void network_send(const char *tap, uint32_t first, uint32_t end);

/* Send such frames to a group */
void network_send_group(const char *tap, uint32_t first, uint32_t end);

/* Receive all of @len bytes from the source's stream */
void stream_read(Rig *r, void *buf, size_t len);

/* Check that the source's next record is @number, to a group */
void stream_expect_group(Rig *r, uint32_t number);

/* Returns: the number of the next record in the source's stream */
uint32_t stream_next(Rig *r);

/* Check that the source's next records are @first up to @end */
void stream_expect(Rig *r, uint32_t first, uint32_t end);

/* Check that the source's next record ends the backlog */
void stream_expect_end(Rig *r);

/* Check that the source's stream contains no data */
void stream_expect_nothing(Rig *r);

/* Write to the destination's stream */
void stream_write(Rig *r, const void *buf, size_t len);

/* Write records @first up to @end there */
void stream_send(Rig *r, uint32_t first, uint32_t end);

/* Write the end of the backlog there */
void stream_send_end(Rig *r);

/* Check that the destination answers the end of the backlog */
void stream_expect_answer(Rig *r);

/* Send such an answer to the source, and wait until it has received it */
void stream_answer(Rig *r);

/* Returns: an integer of the object's stats */
uint64_t get_stat(Vm *vm, const char *name);

/* Returns: a boolean of the object's stats */
bool get_state(Vm *vm, const char *name);

/* Wait until an integer of the object's stats is @at_least this value */
void wait_stat(Vm *vm, const char *name, uint64_t at_least);

/* Check that the destination reports the end of the takeover */
void takeover_expect_done(Rig *r, bool complete);

/* Returns: whether the guest has been announced at the destination */
bool is_announced(Rig *r);

#endif
