/*
 * Copies of handed-over packets, in case the guest is resumed here
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The buffer is bounded; once it is full, no more packets are kept.  All
 * functions must be called with the BQL held.
 */
#ifndef NET_HANDOVER_COPY_H
#define NET_HANDOVER_COPY_H

#include "net/net.h"

/* Maximum size in bytes, including 16 bytes of overhead per packet */
#define HANDOVER_COPY_MAX (16 * 1024 * 1024)

typedef struct HandoverCopy {
    GByteArray *packets;    /* NULL if there are none */
    uint64_t n_missed;      /* packets not kept for lack of room */
} HandoverCopy;

/**
 * handover_copy_put:
 * @copy: the copies, in use or all zero
 * @nc: the sender of the packet
 * @data: the packet, in the format that the peer of @nc receives
 * @size: length of the packet in bytes
 */
void handover_copy_put(HandoverCopy *copy, NetClientState *nc,
                       const uint8_t *data, size_t size);

/**
 * handover_copy_deliver:
 * @copy: the copies; empty afterwards
 *
 * Send all packets to the peers of their senders.
 */
void handover_copy_deliver(HandoverCopy *copy);

/**
 * handover_copy_clear:
 * @copy: the copies; empty afterwards
 */
void handover_copy_clear(HandoverCopy *copy);

#endif
