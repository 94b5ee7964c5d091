/*
 * When frames that were sent leave for good
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A queueing discipline without room refuses a frame, and poll() does not
 * report when to retry: a socket is writable as long as its own buffer has
 * room.  But each frame that leaves wakes up whoever polls the socket, and an
 * edge-triggered epoll descriptor keeps that.
 */
#ifndef CHARDEV_AF_PACKET_DEPARTURES_H
#define CHARDEV_AF_PACKET_DEPARTURES_H

typedef struct AfPacketDepartures {
    int fd;         /* the socket */
    int epoll_fd;   /* -1: there is none */
    bool watching;
} AfPacketDepartures;

/**
 * af_packet_departures_init:
 * @dep: to be ended with af_packet_departures_destroy()
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
 * From now on, @epoll_fd becomes readable when a frame leaves, and stays so
 * until the next call.
 */
void af_packet_departures_watch(AfPacketDepartures *dep);

/**
 * af_packet_departures_unwatch:
 * @dep: the departures
 *
 * Let @epoll_fd be unreadable, at no cost for frames that leave.
 */
void af_packet_departures_unwatch(AfPacketDepartures *dep);

#endif
