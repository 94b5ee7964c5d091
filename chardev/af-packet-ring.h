/*
 * A ring of frames that an AF_PACKET socket shares with the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each frame has a slot, in the order of arrival (TPACKET_V2).  A frame that
 * is too long for its slot is in the socket's receive queue, and the slot only
 * has its start.
 */
#ifndef CHARDEV_AF_PACKET_RING_H
#define CHARDEV_AF_PACKET_RING_H

#include "af-packet-rx.h"

typedef struct AfPacketRing AfPacketRing;

/**
 * af_packet_ring_new:
 * @state: of a packet socket without a ring and without vnet headers
 *
 * The kernel discards what waits in the socket.
 *
 * Returns: the ring; NULL if the kernel gives none.
 */
AfPacketRing *af_packet_ring_new(AfPacketState *state);

/**
 * af_packet_ring_can_start:
 * @state: of a packet socket
 *
 * Returns: false if the opener has reserved a part of each slot.
 */
bool af_packet_ring_can_start(const AfPacketState *state);

/**
 * af_packet_ring_status:
 * @ring: the ring
 *
 * Returns: the TP_STATUS_* bits of the next slot; there is a frame only if
 * TP_STATUS_USER is among them.  With TP_STATUS_COPY, all of it is in the
 * receive queue.
 */
uint32_t af_packet_ring_status(const AfPacketRing *ring);

/**
 * af_packet_ring_copy:
 * @ring: the ring
 * @status: of its next slot
 * @frame: set to what is in there; valid until the next call
 */
void af_packet_ring_copy(AfPacketRing *ring, uint32_t status,
                         AfPacketRxFrame *frame);

/**
 * af_packet_ring_advance:
 * @ring: the ring
 *
 * Return the next slot to the kernel.
 */
void af_packet_ring_advance(AfPacketRing *ring);

/**
 * af_packet_ring_stop:
 * @ring: the ring
 *
 * Remove it from the socket, with all frames in it.
 *
 * Returns: the number of these.
 */
size_t af_packet_ring_stop(AfPacketRing *ring);

/**
 * af_packet_ring_free:
 * @ring: the ring, stopped or not; NULL is ignored
 */
void af_packet_ring_free(AfPacketRing *ring);

#endif
