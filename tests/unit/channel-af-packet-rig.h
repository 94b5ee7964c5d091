/*
 * Test helpers: a channel between AF_PACKET frames and records, and a far end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *                    +---------+   +-------+   +-------+
 *   records <------> | channel | --| veth0 |---| veth1 | <------> frames
 *                    +---------+   +-------+   +-------+
 *
 * Any failure here fails the test, unless it is reported by a return value.
 */
#ifndef TESTS_UNIT_CHANNEL_AF_PACKET_RIG_H
#define TESTS_UNIT_CHANNEL_AF_PACKET_RIG_H

#include <linux/if_ether.h>
#include "chardev/channel-af-packet.h"
#include "qapi/error.h"
#include "qemu/units.h"
#include "af-packet-helpers.h"
#include "af-packet-suite.h"

#define IFNAME "veth0"
#define PEER "veth1"
#define CAPTURE CHARDEV_SOCKET_AF_PACKET_MODE_CAPTURE
#define INJECT CHARDEV_SOCKET_AF_PACKET_MODE_INJECT

/* MTU of the interfaces: the longest frame does not fit into a ring slot */
#define MTU 2000
#define FRAME_MAX (14 + MTU)

/* Various lengths of frames */
extern const size_t frame_lens[8];

/* The channel, and the far end of its interface */
typedef struct Rig {
    ChardevSocketAfPacketMode mode;
    QIOChannelAfPacket *ioc;
    QIOChannel *base;        /* the same */
    int fd;                  /* the channel's socket */
    int peer;                /* a socket on the other end, or a tap */
    bool tap;                /* peer is a tap: its frames have vnet headers */
    size_t vnet_hdr_len;     /* of the channel's records */
} Rig;

/**
 * rig_open:
 * @proto: the ethertype to receive, 0 for none, ETH_P_ALL for all
 *
 * Create a pair of interfaces.
 *
 * Returns: a socket on it, to call rig_connect() with.
 */
int rig_open(Rig *r, ChardevSocketAfPacketMode mode, uint16_t proto);

/**
 * rig_open_tap:
 * @vnet_hdr_len: of the channel's records, 0 or 10 bytes
 *
 * Create a tap, that @r->peer writes frames with vnet headers to.
 *
 * Returns: a capture socket on it; -1, with the test skipped, if there is none.
 */
int rig_open_tap(Rig *r, size_t vnet_hdr_len);

/* Create a channel on @fd, with counters that start at @totals, or at 0. */
void rig_connect(Rig *r, int fd, const ChardevAfPacketStats *totals);

/* rig_open() and rig_connect() */
void rig_init(Rig *r, ChardevSocketAfPacketMode mode, uint16_t proto);

/**
 * rig_init_slow:
 * @rate: as of link_add_tbf()
 * @burst: as there
 * @limit: as there
 *
 * Create a channel that injects into a slow interface.
 *
 * Returns: whether this is supported; if not, the test is skipped.
 */
bool rig_init_slow(Rig *r, uint32_t rate, uint32_t burst, uint32_t limit);

/* Close the channel; the interfaces stay. */
void rig_disconnect(Rig *r);

/* Close everything, and remove the interfaces if they still exist. */
void rig_free(Rig *r);

ChardevAfPacketStats rig_stats(Rig *r);

/* Returns: the total number of dropped frames */
uint64_t all_dropped(const ChardevAfPacketStats *s);

/**
 * rig_wait:
 * @condition: the conditions to wait for
 * @usec: the maximum time to wait, in microseconds
 *
 * Run the main loop until the channel meets a condition, without spinning.
 *
 * Returns: the conditions that are met.
 */
GIOCondition rig_wait(Rig *r, GIOCondition condition, int64_t usec);

/*
 * Run the main loop for a while, as for a chardev whose frontend reads: check
 * that the channel does not become ready, and does not keep the loop busy.
 */
void rig_assert_idle(Rig *r);

/* Run the main loop until @n frames have been sent. */
void rig_wait_sent(Rig *r, uint64_t n);

/* Frame number @seq, of @len bytes; 14 is the least */
void put_frame(uint8_t *frame, size_t len, int seq);

/* Append the record of @len bytes at @payload, with a vnet header if need be */
void append_payload(const Rig *r, GByteArray *stream, const void *payload,
                    size_t len);

/* Append the record of frame number @seq, in the plain format. */
void append_record(GByteArray *stream, size_t len, int seq);

/* Send frame number @seq from the far end. */
void peer_send(Rig *r, size_t len, int seq);

/* Send @n such frames. */
void peer_flood(Rig *r, size_t len, int n);

/* Check that the next frame at the far end is number @seq. */
void peer_expect(Rig *r, size_t len, int seq);

/* Read exactly @len bytes, with reads of at most @chunk. */
void rig_read(Rig *r, uint8_t *buf, size_t len, size_t chunk);

/* Check that the next record is that of frame number @seq. */
void rig_expect(Rig *r, size_t len, int seq, size_t chunk);

/* Read up to a record with a frame of put_frame().  Returns: its length. */
size_t rig_read_frame(Rig *r, uint8_t *payload);

/* Read and discard all available records. */
void rig_drain(Rig *r);

/* Read until all of @n frames are accounted for. */
ChardevAfPacketStats rig_account(Rig *r, int n);

/* Check that a read would block, or that the channel has ended */
void rig_expect_read(Rig *r, ssize_t result);

/* Write @len bytes at @data, @chunk at a time; all must be accepted. */
void rig_write(Rig *r, const uint8_t *data, size_t len, size_t chunk);

/* Write the record of frame number @seq. */
void rig_write_record(Rig *r, size_t len, int seq);

/* Check that a frame passes. */
void rig_expect_pass(Rig *r, int seq);

/* Check that writing fails with an error that contains @why. */
void rig_refuse_write(Rig *r, const void *data, size_t len, const char *why);

#endif
