/*
 * Receive moderation: whether to receive frames at once or after a short rest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/timerfd.h>
#include "qemu/timer.h"
#include "af-packet-pace.h"

#define REST_NS (100 * SCALE_US)
#define FRAMES_PER_REST 5 /* minimum that makes a rest worthwhile */

void af_packet_pace_init(AfPacketPace *pace)
{
    *pace = (AfPacketPace) {
        /* main loop timeouts only have millisecond resolution */
        .timer_fd = timerfd_create(CLOCK_MONOTONIC,
                                   TFD_CLOEXEC | TFD_NONBLOCK),
        .since = get_clock(),
    };
}

void af_packet_pace_destroy(AfPacketPace *pace)
{
    if (pace->timer_fd >= 0) {
        close(pace->timer_fd);
    }
}

/* Setting the timer also makes it unreadable until it expires. */
static bool set_timer(AfPacketPace *pace)
{
    struct itimerspec rest = { .it_value.tv_nsec = REST_NS };

    return timerfd_settime(pace->timer_fd, 0, &rest, NULL) == 0;
}

void af_packet_pace_update(AfPacketPace *pace)
{
    int64_t now = get_clock();
    int64_t elapsed = now - pace->since;
    bool dense;

    pace->resting = false;
    if (elapsed < REST_NS) {
        return; /* measured for too short a time */
    }
    dense = pace->n_frames * (int64_t)REST_NS >= FRAMES_PER_REST * elapsed;
    pace->since = now;
    pace->n_frames = 0;
    pace->resting = dense && set_timer(pace);
}
