/*
 * What both directions of an AF_PACKET channel share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The socket, the counters, and the way up: a direction notes here what its
 * channel has to act on.  Not locked: the channel's lock protects it.
 */
#ifndef CHARDEV_AF_PACKET_PORT_H
#define CHARDEV_AF_PACKET_PORT_H

#include "qapi/qapi-types-char.h"
#include "af-packet-socket.h"

/* Why a frame goes no further; each has a counter and a warning of its own */
typedef enum AfPacketDrop {
    AF_PACKET_DROP_RCVBUF_FULL,
    AF_PACKET_DROP_BAD_SLOT,      /* nonsense in the ring */
    AF_PACKET_DROP_OVERSIZE,      /* for a record */
    AF_PACKET_DROP_FILTERED,      /* the socket's filter cut it */
    AF_PACKET_DROP_TOO_SHORT,
    AF_PACKET_DROP_UNDESCRIBABLE, /* by a vnet header */
    AF_PACKET_DROP_BAD_CSUM,      /* in a vnet header */
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
    AfPacketState *state;      /* of the socket; NULL once it is released */
    char *label;               /* what messages call the user */
    char *ifname;              /* see af_packet_port_ifname() */
    size_t vnet_hdr_len;       /* in the socket's frames */
    AfPacketLink link;         /* at the last poll */
    int64_t link_poll_at;      /* when to poll it again */
    ChardevAfPacketStats stats;
    int64_t warn_at[AF_PACKET_DROP__MAX]; /* when to warn again */

    bool link_changed;         /* perhaps: the channel has to poll it */
    int error;                 /* the socket is of no more use: an errno */
} AfPacketPort;

/**
 * af_packet_port_init:
 * @port: the port, all zero; to be ended with af_packet_port_destroy()
 * @fd: a packet socket that passes af_packet_socket_check()
 * @label: what messages call its user
 * @totals: counters to start from
 */
void af_packet_port_init(AfPacketPort *port, int fd, const char *label,
                         const ChardevAfPacketStats *totals);

/**
 * af_packet_port_release:
 * @port: the port, whose direction has stopped
 *
 * Restore the socket to its original state.
 */
void af_packet_port_release(AfPacketPort *port);

/**
 * af_packet_port_destroy:
 * @port: the port, released
 */
void af_packet_port_destroy(AfPacketPort *port);

/**
 * af_packet_port_ifname:
 * @port: the port
 *
 * Returns: the name that the interface has now; once it is gone, the last
 * one that was seen.  Valid until the next call.
 */
const char *af_packet_port_ifname(AfPacketPort *port);

/**
 * af_packet_port_poll_link:
 * @port: the port
 *
 * Poll the link, and decide when to poll it again, in microseconds of
 * g_get_monotonic_time().
 *
 * Returns: true if the link has changed.
 */
bool af_packet_port_poll_link(AfPacketPort *port);

/**
 * af_packet_port_drop:
 * @port: the port
 * @reason: why the frame is dropped
 * @err: an errno with more detail, or 0
 * @len: length of the frame in bytes, 0 if it is not known
 *
 * Count a frame that goes no further, and warn about it now and then.
 */
void af_packet_port_drop(AfPacketPort *port, AfPacketDrop reason, int err,
                         size_t len);

/**
 * af_packet_port_drop_detached:
 * @port: the port
 * @n_frames: how many
 *
 * Count frames that are lost because an end of the channel went away.
 */
void af_packet_port_drop_detached(AfPacketPort *port, uint64_t n_frames);

#endif
