/*
 * Unit test helpers: an af-packet channel, and the far end of its interface
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_CHANNEL_AF_PACKET_RIG_H
#define TESTS_UNIT_CHANNEL_AF_PACKET_RIG_H

#include "chardev/channel-af-packet.h"
#include "af-packet-helpers.h"

#define IFNAME "veth0"
#define PEER "veth1"
#define CAPTURE CHARDEV_SOCKET_AF_PACKET_MODE_CAPTURE
#define INJECT CHARDEV_SOCKET_AF_PACKET_MODE_INJECT

#define FRAME_MAX 1514
#define DEADLINE (10 * G_TIME_SPAN_SECOND)
/* To see that nothing happens */
#define A_WHILE (60 * G_TIME_SPAN_MILLISECOND)

typedef struct Rig {
    ChardevSocketAfPacketMode mode;
    QIOChannelAfPacket *ioc;
    QIOChannel *base;        /* the same */
    int fd;                  /* the channel's socket */
    int peer;                /* a socket on the other end */
} Rig;

/* Lengths of frames, of all kinds */
extern const size_t frame_lens[8];

typedef bool RigPredicate(const ChardevAfPacketStats *stats, uint64_t value);

/* Make a channel of @fd, with counters that start at @totals. */
void rig_connect(Rig *r, int fd, const ChardevAfPacketStats *totals);

/* A channel on a socket that receives @proto, of a new pair of interfaces */
void rig_init(Rig *r, ChardevSocketAfPacketMode mode, uint16_t proto);

/* What inject mode is given, and what suits capture mode here */
uint16_t usual_proto(ChardevSocketAfPacketMode mode);

/* Close the channel. */
void rig_disconnect(Rig *r);

/* End, with the interfaces gone already. */
void rig_free_after_removal(Rig *r);

/* End, and remove the interfaces. */
void rig_free(Rig *r);

/* Returns: the counters as they are now. */
ChardevAfPacketStats rig_stats(Rig *r);

/* Returns: the sum of the counters of dropped frames. */
uint64_t all_dropped(const ChardevAfPacketStats *s);

/* For a main loop that has to wake up now and then */
gboolean rig_tick(gpointer opaque);

/*
 * Run the main loop for @usec, or until the channel is ready for @condition.
 * Returns: what it is ready for then.
 */
GIOCondition rig_wait(Rig *r, GIOCondition condition, int64_t usec);

/*
 * Run the main loop for a while, as it is with a chardev that takes data:
 * the channel gets ready for nothing, and does not keep the loop busy.
 */
void rig_assert_idle(Rig *r);

/* Run the main loop until the counters are as they should be. */
void rig_wait_stats(Rig *r, RigPredicate *predicate, uint64_t value);

/* Frame number @seq, of @len bytes; 14 is the least */
void put_frame(uint8_t *frame, size_t len, int seq);

/* Append the record of frame number @seq, plain form. */
void append_record(GByteArray *stream, size_t len, int seq);

/* Send frame number @seq from the far end. */
void peer_send(Rig *r, size_t len, int seq);

/* The next frame at the far end is number @seq. */
void peer_expect(Rig *r, size_t len, int seq);

/* Read exactly @len bytes, with reads of at most @chunk. */
void rig_read(Rig *r, uint8_t *buf, size_t len, size_t chunk);

/* The next record is that of frame number @seq. */
void rig_expect(Rig *r, size_t len, int seq, size_t chunk);

/* Nothing to read now, or no more at all */
void rig_expect_read(Rig *r, ssize_t result);

/* When frames came densely, the channel is ready once more, for nothing. */
void rig_end_rest(Rig *r);

/* Write @len bytes at @data, @chunk at a time; all are always taken. */
void rig_write(Rig *r, const uint8_t *data, size_t len, size_t chunk);

/* Write the record of frame number @seq. */
void rig_write_record(Rig *r, size_t len, int seq);

/* Read up to a record with a frame of this test.  Returns: its length. */
size_t rig_read_frame(Rig *r, uint8_t *payload, size_t vnet_hdr_len);

/* A frame passes. */
void rig_expect_pass(Rig *r, int seq);

/* With a ring, the version can't be set, not even to what it is. */
bool has_ring(int fd);

/* Add a test with @data; its path is /channel-af-packet/@group/@name. */
void add_test(const char *group, const char *name, const void *data,
              GTestDataFunc func);

/* Add one without. */
void add_simple_test(const char *group, const char *name,
                     GTestFunc func);

/*
 * Run the tests that @add_tests adds, each of which is skipped if there can be
 * no network namespace.  Returns: main()'s result.
 */
int rig_run(int argc, char **argv, void (*add_tests)(void));

#endif
