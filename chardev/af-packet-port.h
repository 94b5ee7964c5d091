/*
 * State shared by both directions of an AF_PACKET channel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Contains the socket, the counters, and events that a direction reports to its
 * channel.  Protected by the channel's lock.
 */
#ifndef CHARDEV_AF_PACKET_PORT_H
#define CHARDEV_AF_PACKET_PORT_H

#include "qapi/qapi-types-char.h"
#include "af-packet-socket.h"

/* Why a frame is dropped; each reason has its own warning and a counter */
typedef enum AfPacketDrop {
    AF_PACKET_DROP_RCVBUF_FULL,
    AF_PACKET_DROP_BAD_SLOT,      /* invalid ring slot */
    AF_PACKET_DROP_OVERSIZE,      /* does not fit into a record */
    AF_PACKET_DROP_FILTERED,      /* truncated by the socket's filter */
    AF_PACKET_DROP_TOO_SHORT,
    AF_PACKET_DROP_UNDESCRIBABLE, /* a vnet header can't describe it */
    AF_PACKET_DROP_BAD_CSUM,      /* checksum offset overflows */
    AF_PACKET_DROP_NO_CSUM,
    AF_PACKET_DROP_TUNNEL_GSO,
    AF_PACKET_DROP_QUEUE_FULL,
    AF_PACKET_DROP_LINK_DOWN,
    AF_PACKET_DROP_ABOVE_MTU,
    AF_PACKET_DROP_REFUSED,
    AF_PACKET_DROP__MAX,
} AfPacketDrop;

typedef struct AfPacketPort {
    int fd;
    AfPacketState *state;      /* of the socket; NULL once released */
    char *label;               /* name of the user, for messages */
    char *ifname;              /* see af_packet_port_ifname() */
    size_t vnet_hdr_len;       /* of the socket's frames */
    AfPacketLink link;         /* state at the last poll */
    int64_t link_poll_at;      /* when to poll the link again */
    ChardevAfPacketStats stats;
    int64_t warn_at[AF_PACKET_DROP__MAX]; /* when to warn again */

    bool link_changed;         /* the channel has to poll the link */
    int error;                 /* errno if the socket is unusable */
} AfPacketPort;

/**
 * af_packet_port_init:
 * @port: the port, all zero; free it with af_packet_port_destroy()
 * @fd: a packet socket that passes af_packet_socket_check()
 * @label: name of the user, for messages
 * @totals: initial values of the counters
 */
void af_packet_port_init(AfPacketPort *port, int fd, const char *label,
                         const ChardevAfPacketStats *totals);

/**
 * af_packet_port_release:
 * @port: the port, whose direction must be stopped
 *
 * Restore the original state of the socket.
 */
void af_packet_port_release(AfPacketPort *port);

/**
 * af_packet_port_destroy:
 * @port: a port that has been released
 */
void af_packet_port_destroy(AfPacketPort *port);

/**
 * af_packet_port_ifname:
 * @port: the port
 *
 * Returns: the current name of the interface, or the last known one if the
 * interface is gone.  Valid until the next call.
 */
const char *af_packet_port_ifname(AfPacketPort *port);

/**
 * af_packet_port_poll_link:
 * @port: the port
 *
 * Poll the link, and set the time of the next poll.
 *
 * Returns: true if the link has changed.
 */
bool af_packet_port_poll_link(AfPacketPort *port);

/**
 * af_packet_port_drop:
 * @port: the port
 * @reason: why the frame is dropped
 * @err: an errno with more detail, or 0
 * @len: length of the frame in bytes, 0 if unknown
 *
 * Count a dropped frame, and warn about it at a limited rate.
 */
void af_packet_port_drop(AfPacketPort *port, AfPacketDrop reason, int err,
                         size_t len);

/**
 * af_packet_port_drop_detached:
 * @port: the port
 * @n_frames: number of frames
 *
 * Count frames that are lost because one end of the channel was detached.
 */
void af_packet_port_drop_detached(AfPacketPort *port, uint64_t n_frames);

#endif
