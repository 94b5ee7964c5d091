/*
 * Receiver of frames from an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel queues frames of up to 1518 bytes in a ring shared with QEMU
 * (TPACKET_V2), which holds thousands of frames and needs no system call to
 * read.  Longer frames are queued in the socket's receive queue (SO_RCVBUF) and
 * received in batches.  The order of all frames is preserved.
 *
 * All frames use the receive queue if the kernel provides no ring, if the
 * socket has vnet headers, or if its opener has set SO_RCVBUF.  The latter also
 * avoids a gap at the start: while the kernel sets up a ring, it delivers no
 * frames to the socket for some milliseconds.
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

/* Metadata that the kernel provides with each frame */
typedef struct AfPacketRxInfo {
    bool filtered;      /* truncated by the socket's filter */
    bool no_room;       /* truncated because the receive queue was full */
    bool impossible;    /* invalid ring slot: no data */
    bool csum_not_ready; /* a checksum is partial (offloaded) */
    bool gso_tcp;       /* a TCP super-frame (Linux 6.3) */
    bool has_vlan;      /* the VLAN tag was stripped */
    uint16_t vlan_tpid;
    uint16_t vlan_tci;
} AfPacketRxInfo;

/**
 * af_packet_rx_info_set:
 * @info: set according to the other arguments
 * @status: TP_STATUS_* bits of a frame
 * @vlan_tpid: tp_vlan_tpid of the frame
 * @vlan_tci: tp_vlan_tci of the frame
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
 * @len: original length of both in bytes; @data is truncated if this exceeds
 *     @max of af_packet_rx_new(), or as indicated by @info
 */
typedef struct AfPacketRxFrame {
    uint8_t *data;
    size_t len;
    AfPacketRxInfo info;
} AfPacketRxFrame;

typedef struct AfPacketRx AfPacketRx;

/**
 * af_packet_rx_new:
 * @state: state of a packet socket without a ring
 * @max: maximum length of frames that are not truncated, with their vnet
 *     headers, in bytes
 * @has_vnet_hdr: whether the socket has vnet headers; must not change later
 * @lost: set to the number of frames lost for lack of room
 *
 * Start receiving.  Frames that are queued already are kept, up to 512 KiB;
 * frames that arrive while the kernel sets up a ring can be missed.
 *
 * Unless the opener has set SO_RCVBUF, the ring and the receive queue use less
 * than 16 MiB in total.
 *
 * Returns: the receiver.
 */
AfPacketRx *af_packet_rx_new(AfPacketState *state, size_t max,
                             bool has_vnet_hdr, size_t *lost);

/**
 * af_packet_rx_stop:
 * @rx: a receiver
 *
 * Stop receiving and remove the ring, so that the state of the socket can be
 * freed.  After this, @rx must only be freed.
 *
 * Returns: the number of frames that were not taken and are lost.
 */
size_t af_packet_rx_stop(AfPacketRx *rx);

/**
 * af_packet_rx_free:
 * @rx: a receiver that was stopped, or whose socket is no longer used
 */
void af_packet_rx_free(AfPacketRx *rx);

/**
 * af_packet_rx_has_ring:
 * @rx: a receiver
 *
 * Returns: whether a ring is in use.
 */
bool af_packet_rx_has_ring(const AfPacketRx *rx);

/**
 * af_packet_rx_ready:
 * @rx: a receiver
 *
 * Returns: true if a frame is available.  Otherwise, poll() on the socket
 * reports when there is one.
 */
bool af_packet_rx_ready(const AfPacketRx *rx);

/**
 * af_packet_rx_next:
 * @rx: a receiver
 * @frame: set to the next frame, valid until the next call or until @rx is
 *     freed, but not invalidated by af_packet_rx_stop()
 *
 * Never blocks.
 *
 * Returns: 1 with a frame; 0 if none is available; the negated pending error of
 * the socket, after which there may be more frames.
 */
int af_packet_rx_next(AfPacketRx *rx, AfPacketRxFrame *frame);

#endif
