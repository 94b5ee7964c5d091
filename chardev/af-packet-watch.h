/*
 * Watches on the channel of an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The channel's readiness does not depend on its socket alone: data may be
 * staged, the channel may have ended, and during a rest, a timer is polled
 * instead of the socket.
 */
#ifndef CHARDEV_AF_PACKET_WATCH_H
#define CHARDEV_AF_PACKET_WATCH_H

#include "io/channel.h"

/**
 * AfPacketWatchStaged:
 * @ioc: the channel
 * @resting: set to whether to poll the timer instead of the socket
 *
 * Returns: the conditions that are met regardless of the socket.
 */
typedef GIOCondition AfPacketWatchStaged(QIOChannel *ioc, bool *resting);

/**
 * af_packet_watch_new:
 * @ioc: the channel; the watch holds a reference to it
 * @condition: the conditions to watch for
 * @staged: called before polling
 * @fd: the socket, which makes the channel readable; -1 to ignore it
 * @timer_fd: the timer that ends a rest; -1 if there are no rests
 *
 * Returns: the source; its callback is a QIOChannelFunc.
 */
GSource *af_packet_watch_new(QIOChannel *ioc, GIOCondition condition,
                             AfPacketWatchStaged *staged, int fd,
                             int timer_fd);

#endif
