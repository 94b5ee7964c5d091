/*
 * Watches on the channel of an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the channel is ready for does not depend on its socket alone: bytes
 * may be staged, it may have ended, and during a rest a timer is polled
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
 * Returns: what the channel is ready for without asking the socket.
 */
typedef GIOCondition AfPacketWatchStaged(QIOChannel *ioc, bool *resting);

/**
 * af_packet_watch_new:
 * @ioc: the channel, which the watch keeps a reference to
 * @condition: what to watch for
 * @staged: what is to be asked first
 * @fd: the socket, whose being readable makes the channel so; -1 if it does
 *     not matter
 * @timer_fd: the timer that ends a rest, -1 if there are none
 *
 * Returns: the source; its callback is a QIOChannelFunc.
 */
GSource *af_packet_watch_new(QIOChannel *ioc, GIOCondition condition,
                             AfPacketWatchStaged *staged, int fd,
                             int timer_fd);

#endif
