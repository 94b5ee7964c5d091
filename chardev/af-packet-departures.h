/*
 * Notification when sent frames leave the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A full queueing discipline refuses a frame, but poll() does not report when
 * to retry: a socket is writable as long as its own send buffer has room.
 * However, each frame that leaves wakes up the pollers of its socket, and an
 * edge-triggered epoll descriptor records these wakeups.
 */
#ifndef CHARDEV_AF_PACKET_DEPARTURES_H
#define CHARDEV_AF_PACKET_DEPARTURES_H

typedef struct AfPacketDepartures {
    int fd;         /* the socket */
    int epoll_fd;   /* -1 if epoll is not available */
    bool watching;
} AfPacketDepartures;

/**
 * af_packet_departures_init:
 * @dep: the departures; free them with af_packet_departures_destroy()
 * @fd: a packet socket
 */
void af_packet_departures_init(AfPacketDepartures *dep, int fd);

/**
 * af_packet_departures_destroy:
 * @dep: the departures
 */
void af_packet_departures_destroy(AfPacketDepartures *dep);

/**
 * af_packet_departures_watch:
 * @dep: the departures
 *
 * From now on, @epoll_fd becomes readable when a frame leaves, and stays
 * readable until the next call.
 */
void af_packet_departures_watch(AfPacketDepartures *dep);

/**
 * af_packet_departures_unwatch:
 * @dep: the departures
 *
 * Stop watching, so that frames that leave cause no wakeups.
 */
void af_packet_departures_unwatch(AfPacketDepartures *dep);

#endif
