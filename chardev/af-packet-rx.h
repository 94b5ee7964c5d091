/*
 * Receiving the frames of an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Short frames, such as TCP's acknowledgements, wait in a ring that the
 * kernel shares with QEMU (TPACKET_V2): no system call is needed to take
 * them, and tens of thousands can wait.  Longer ones wait in the socket's
 * receive queue (SO_RCVBUF), from which they are taken many at a time.  The
 * order of all frames is kept.
 *
 * The queue has all frames where the kernel gives no ring, and where the
 * opener of the socket has set SO_RCVBUF: frames are to wait there then.  That
 * also is the way to miss nothing, as the kernel gives the socket no frames
 * while it sets up a ring, for some milliseconds.
 */
#ifndef CHARDEV_AF_PACKET_RX_H
#define CHARDEV_AF_PACKET_RX_H

/* Bytes before a received frame that may be overwritten */
#define AF_PACKET_RX_HEADROOM 20

/* What the kernel reports beside a frame that it delivers */
typedef struct AfPacketRxInfo {
    bool filtered;      /* the socket's filter took the frame's end off */
    bool no_room;       /* its end found no room in the receive queue */
    bool has_vlan;      /* a tag was taken out of the frame */
    uint16_t vlan_tpid;
    uint16_t vlan_tci;
} AfPacketRxInfo;

/*
 * @data: the vnet header, if the socket has one, then the frame
 * @len: true length of both in bytes; not all of it is at @data if it is
 *     above @max of af_packet_rx_new(), or if @info says so
 */
typedef struct AfPacketRxFrame {
    uint8_t *data;
    size_t len;
    AfPacketRxInfo info;
} AfPacketRxFrame;

/* What af_packet_rx_look() has found */
typedef enum AfPacketRxState {
    AF_PACKET_RX_STEADY, /* there is no ring, or nothing was taken from it */
    AF_PACKET_RX_BUSY,   /* something was: if all is well now is not known */
    AF_PACKET_RX_STUCK,  /* the kernel did not fill the ring any more */
} AfPacketRxState;

typedef struct AfPacketRx AfPacketRx;

/**
 * af_packet_rx_new:
 * @fd: a packet socket without a ring
 * @max: the longest frame that is given whole, with its vnet header, in
 *     bytes
 * @vnet_hdr_len: length of the vnet header in bytes, 0 if there is none;
 *     must not change any more
 *
 * Start to receive.  What waits in the socket already is kept; what arrives
 * just now, while the kernel sets up a ring, can be missed.
 *
 * Returns: the receiver.
 */
AfPacketRx *af_packet_rx_new(int fd, size_t max, size_t vnet_hdr_len);

/**
 * af_packet_rx_stop:
 * @rx: a receiver
 *
 * Stop receiving, and leave the socket without a ring.  All that may be done
 * with @rx after that is to free it.
 *
 * Returns: how many frames had not been taken; they are lost.
 */
size_t af_packet_rx_stop(AfPacketRx *rx);

/**
 * af_packet_rx_free:
 * @rx: a receiver that was stopped, or whose socket is not used again
 */
void af_packet_rx_free(AfPacketRx *rx);

/**
 * af_packet_rx_has_ring:
 * @rx: a receiver
 *
 * Returns: whether frames come by a ring.
 */
bool af_packet_rx_has_ring(const AfPacketRx *rx);

/**
 * af_packet_rx_look:
 * @rx: a receiver
 * @dropped: whether the kernel has dropped frames since the last call
 *
 * To be called now and then, as nothing else tells of a ring that is stuck.
 * Such a ring is given up; frames wait in the receive queue from then on.
 *
 * Returns: what was found.
 */
AfPacketRxState af_packet_rx_look(AfPacketRx *rx, bool dropped);

/**
 * af_packet_rx_ready:
 * @rx: a receiver
 *
 * Returns: true if there is a frame to be taken.  False means that only
 * poll() on the socket can tell.
 */
bool af_packet_rx_ready(const AfPacketRx *rx);

/**
 * af_packet_rx_next:
 * @rx: a receiver
 * @frame: set to the next frame, valid until the next call, or until @rx is
 *     freed; only stopping does not harm it
 *
 * Never blocks.
 *
 * Returns: 1 with a frame; 0 if there is none now; a negative errno that the
 * socket had pending, after which there may be more frames.
 */
int af_packet_rx_next(AfPacketRx *rx, AfPacketRxFrame *frame);

#endif
