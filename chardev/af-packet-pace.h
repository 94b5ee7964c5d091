/*
 * When to receive frames: at once, or after a short rest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An iteration of the main loop costs as much as ten frames, and a fast reader
 * has one for each frame.  So, like a network card's interrupt moderation,
 * rest for a moment when frames arrive so fast that several of them will
 * have arrived by then.  Slow traffic is not delayed.
 */
#ifndef CHARDEV_AF_PACKET_PACE_H
#define CHARDEV_AF_PACKET_PACE_H

typedef struct AfPacketPace {
    int timer_fd;       /* readable when a rest is over; -1: there are none */
    bool resting;       /* until @timer_fd is readable */
    int64_t since;      /* nanoseconds */
    unsigned n_frames;  /* since then */
} AfPacketPace;

/**
 * af_packet_pace_init:
 * @pace: to be ended with af_packet_pace_destroy()
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
 * A frame has been received.
 */
static inline void af_packet_pace_count(AfPacketPace *pace)
{
    pace->n_frames++;
}

/**
 * af_packet_pace_update:
 * @pace: the pace
 *
 * There is no frame left just now: decide whether to rest.
 */
void af_packet_pace_update(AfPacketPace *pace);

#endif
