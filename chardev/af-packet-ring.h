/*
 * Receive ring of an AF_PACKET socket, shared with the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each frame uses a slot, in order of arrival (TPACKET_V2).  If a frame is too
 * long, its slot contains only the start, and the whole frame is in the
 * socket's receive queue.
 */
#ifndef CHARDEV_AF_PACKET_RING_H
#define CHARDEV_AF_PACKET_RING_H

#include "af-packet-rx.h"

typedef struct AfPacketRing AfPacketRing;

/**
 * af_packet_ring_new:
 * @state: state of a packet socket without a ring and without vnet headers
 *
 * Set up a ring.  The kernel discards the frames in the socket's receive queue.
 *
 * Returns: the ring; NULL if the kernel does not provide one.
 */
AfPacketRing *af_packet_ring_new(AfPacketState *state);

/**
 * af_packet_ring_can_start:
 * @state: state of a packet socket
 *
 * Returns: false if the opener has set PACKET_RESERVE, which uses part of each
 * slot.
 */
bool af_packet_ring_can_start(const AfPacketState *state);

/**
 * af_packet_ring_status:
 * @ring: the ring
 *
 * Returns: the TP_STATUS_* bits of the next slot.  The slot contains a frame
 * only with TP_STATUS_USER; with TP_STATUS_COPY, the whole frame is in the
 * receive queue.
 */
uint32_t af_packet_ring_status(const AfPacketRing *ring);

/**
 * af_packet_ring_copy:
 * @ring: the ring
 * @status: status of its next slot
 * @frame: set to a copy of the frame in the slot; valid until the next call
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
 * Remove the ring from the socket, with all frames in it.
 *
 * Returns: the number of frames that were in it.
 */
size_t af_packet_ring_stop(AfPacketRing *ring);

/**
 * af_packet_ring_free:
 * @ring: the ring, stopped or not; NULL is ignored
 */
void af_packet_ring_free(AfPacketRing *ring);

#endif
