/*
 * Receive moderation: whether to receive frames at once or after a short rest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A main loop iteration costs as much as ten frames, and a fast reader needs
 * one iteration per frame.  So, like the interrupt moderation of a network
 * card, pause for a moment if several frames are expected to arrive meanwhile.
 * Slow traffic is not delayed.
 */
#ifndef CHARDEV_AF_PACKET_PACE_H
#define CHARDEV_AF_PACKET_PACE_H

typedef struct AfPacketPace {
    int timer_fd;       /* readable at the end of a rest; -1: never rest */
    bool resting;       /* until @timer_fd is readable */
    int64_t since;      /* start of the measurement, in nanoseconds */
    unsigned n_frames;  /* frames received since then */
} AfPacketPace;

/**
 * af_packet_pace_init:
 * @pace: the pace; free it with af_packet_pace_destroy()
 */
void af_packet_pace_init(AfPacketPace *pace);

/**
 * af_packet_pace_destroy:
 * @pace: the pace
 */
void af_packet_pace_destroy(AfPacketPace *pace);

/**
 * af_packet_pace_count:
 * @pace: the pace
 *
 * Count a received frame.
 */
static inline void af_packet_pace_count(AfPacketPace *pace)
{
    pace->n_frames++;
}

/**
 * af_packet_pace_update:
 * @pace: the pace
 *
 * Decide whether to rest, now that no frame is left.
 */
void af_packet_pace_update(AfPacketPace *pace);

#endif
