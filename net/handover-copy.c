/*
 * Copies of handed-over packets, in case the guest is resumed here
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "handover-copy.h"
#include "net/eth.h"

/* Precedes each packet in the buffer */
typedef struct CopyHead {
    NetClientState *nc;
    uint64_t size;
} CopyHead;

void handover_copy_put(HandoverCopy *copy, NetClientState *nc,
                       const uint8_t *data, size_t size)
{
    const CopyHead head = { nc, size };

    if (!copy->packets) {
        copy->packets = g_byte_array_new();
    }
    if (copy->packets->len + sizeof(head) + size > HANDOVER_COPY_MAX) {
        copy->n_missed++;
        return;
    }
    g_byte_array_append(copy->packets, (const uint8_t *)&head, sizeof(head));
    g_byte_array_append(copy->packets, data, size);
}

/* With a callback, a net queue keeps the packet even beyond its limit. */
static void copy_sent(NetClientState *nc, ssize_t ret)
{
}

static void copy_deliver_one(NetClientState *nc, const uint8_t *data,
                             size_t size)
{
    uint8_t padded[ETH_ZLEN];
    size_t padded_size = sizeof(padded);

    if (net_peer_needs_padding(nc) &&
        eth_pad_short_frame(padded, &padded_size, data, size)) {
        data = padded;
        size = padded_size;
    }
    qemu_send_packet_async(nc, data, size, copy_sent);
}

void handover_copy_deliver(HandoverCopy *copy)
{
    size_t pos, len = copy->packets ? copy->packets->len : 0;
    CopyHead head;

    for (pos = 0; pos < len; pos += sizeof(head) + head.size) {
        const uint8_t *at = copy->packets->data + pos;

        memcpy(&head, at, sizeof(head));
        copy_deliver_one(head.nc, at + sizeof(head), head.size);
    }
    handover_copy_clear(copy);
}

void handover_copy_clear(HandoverCopy *copy)
{
    g_clear_pointer(&copy->packets, g_byte_array_unref);
    copy->n_missed = 0;
}
