/*
 * Copies of packets that were handed over, for a guest that stays after all
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Bounded: what comes when it is full is not kept.  All functions want the big
 * lock.
 */
#ifndef NET_HANDOVER_COPY_H
#define NET_HANDOVER_COPY_H

#include "net/net.h"

/* Bytes that may be kept, with 16 for each packet */
#define HANDOVER_COPY_MAX (16 * 1024 * 1024)

typedef struct HandoverCopy {
    GByteArray *packets;    /* NULL if there are none */
    uint64_t n_missed;      /* packets that found no room */
} HandoverCopy;

/**
 * handover_copy_put:
 * @copy: initialized or all zero
 * @nc: where the packet came from
 * @data: the packet, as the peer of @nc is to receive it
 * @size: its length in bytes
 */
void handover_copy_put(HandoverCopy *copy, NetClientState *nc,
                       const uint8_t *data, size_t size);

/**
 * handover_copy_deliver:
 * @copy: it has nothing afterwards
 *
 * Queue all packets for the peers of where they came from.
 */
void handover_copy_deliver(HandoverCopy *copy);

/**
 * handover_copy_clear:
 * @copy: it has nothing afterwards
 */
void handover_copy_clear(HandoverCopy *copy);

#endif
