/*
 * Receiving the frames of an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Frames of up to 1518 bytes wait in a ring that the kernel shares with QEMU
 * (TPACKET_V2): no system call is needed to take them, and thousands can wait.
 * Longer ones wait in the socket's receive queue (SO_RCVBUF), from which they
 * are received in batches.  The order of all frames is kept.
 *
 * All frames wait in the queue if the kernel provides no ring, if the socket
 * has vnet headers, or if its opener has set SO_RCVBUF.  The latter also
 * avoids a gap at the start: the kernel delivers no frames to the socket for
 * some milliseconds, while it sets up a ring.
 */
#ifndef CHARDEV_AF_PACKET_RX_H
#define CHARDEV_AF_PACKET_RX_H

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "af-packet-state.h"

/* Linux 6.3 */
#ifndef TP_STATUS_GSO_TCP
#define TP_STATUS_GSO_TCP (1 << 8)
#endif

/* Bytes before a received frame that may be overwritten */
#define AF_PACKET_RX_HEADROOM 20

/* What the kernel reports beside a frame that it delivers */
typedef struct AfPacketRxInfo {
    bool filtered;      /* the socket's filter took the frame's end off */
    bool no_room;       /* its end found no room in the receive queue */
    bool impossible;    /* invalid ring slot: no data */
    bool csum_not_ready; /* a checksum is left to a network card */
    bool gso_tcp;       /* it is to be cut into segments (Linux 6.3) */
    bool has_vlan;      /* a tag was taken out of the frame */
    uint16_t vlan_tpid;
    uint16_t vlan_tci;
} AfPacketRxInfo;

/**
 * af_packet_rx_info_set:
 * @info: set to what the other arguments say
 * @status: TP_STATUS_* bits of a frame
 * @vlan_tpid: its tp_vlan_tpid
 * @vlan_tci: its tp_vlan_tci
 */
static inline void af_packet_rx_info_set(AfPacketRxInfo *info, uint32_t status,
                                         uint16_t vlan_tpid, uint16_t vlan_tci)
{
    info->csum_not_ready = status & TP_STATUS_CSUMNOTREADY;
    info->gso_tcp = status & TP_STATUS_GSO_TCP;
    info->has_vlan = status & TP_STATUS_VLAN_VALID;
    info->vlan_tci = vlan_tci;
    info->vlan_tpid = status & TP_STATUS_VLAN_TPID_VALID ? vlan_tpid :
                                                           ETH_P_8021Q;
}

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

typedef struct AfPacketRx AfPacketRx;

/**
 * af_packet_rx_new:
 * @state: of a packet socket without a ring
 * @max: the longest frame that is given whole, with its vnet header, in
 *     bytes
 * @has_vnet_hdr: whether it has vnet headers; must not change any more
 * @lost: set to the number of frames for which there was no room
 *
 * Start to receive.  What waits in the socket already is kept, up to 512 KiB;
 * what arrives just now, while the kernel sets up a ring, can be missed.
 *
 * Unless SO_RCVBUF was set by the opener, it takes less than 16 MiB, ring and
 * receive queue included.
 *
 * Returns: the receiver.
 */
AfPacketRx *af_packet_rx_new(AfPacketState *state, size_t max,
                             bool has_vnet_hdr, size_t *lost);

/**
 * af_packet_rx_stop:
 * @rx: a receiver
 *
 * Stop receiving, and leave the socket without a ring; its state can be freed
 * then.  All that may be done with @rx after that is to free it.
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
 * af_packet_rx_ready:
 * @rx: a receiver
 *
 * Returns: true if there is a frame to be taken.  Otherwise poll() on the
 * socket reports when there is.
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
