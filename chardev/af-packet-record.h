/*
 * Records that carry L2 frames in a byte stream
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The framing that net_fill_rstate() reads, so that of filter-mirror,
 * filter-redirector, colo-compare and -netdev stream/socket:
 *
 *   be32   length of the payload
 *   be32   length of the vnet header, only in the vnet form
 *   bytes  payload: the vnet header, if any, then the frame
 */
#ifndef CHARDEV_AF_PACKET_RECORD_H
#define CHARDEV_AF_PACKET_RECORD_H

#include "net/net.h"

/* The most that readers of records accept as payload, in bytes */
#define AF_PACKET_RECORD_MAX NET_BUFSIZE

/* The most that stands before a payload, in bytes */
#define AF_PACKET_RECORD_HEAD_MAX (2 * sizeof(uint32_t))

/**
 * af_packet_record_head_len:
 * @vnet_hdr_len: length of the vnet header in bytes, 0 for the plain form
 *
 * Returns: how many bytes stand before the payload of a record.
 */
static inline size_t af_packet_record_head_len(size_t vnet_hdr_len)
{
    return vnet_hdr_len ? AF_PACKET_RECORD_HEAD_MAX : sizeof(uint32_t);
}

/**
 * af_packet_record_put_head:
 * @payload: the payload, with af_packet_record_head_len() bytes of room
 *     before it
 * @len: length of the payload in bytes, at most AF_PACKET_RECORD_MAX
 * @vnet_hdr_len: length of the vnet header in bytes, 0 for the plain form
 *
 * Make a record of a payload, in place.
 *
 * Returns: the start of the record.
 */
uint8_t *af_packet_record_put_head(uint8_t *payload, size_t len,
                                   size_t vnet_hdr_len);

/*
 * Splits a stream of records into payloads.  Zero-initialize it, set
 * @vnet_hdr_len; free with af_packet_splitter_reset().
 */
typedef struct AfPacketSplitter {
    size_t vnet_hdr_len;  /* what records must state, 0 for the plain form */
    uint8_t head[AF_PACKET_RECORD_HEAD_MAX];
    size_t head_have;     /* bytes of head that have come in */
    uint8_t *partial;     /* a payload that comes in pieces, or NULL */
    size_t partial_have;  /* bytes of it that have come in */
} AfPacketSplitter;

/**
 * af_packet_splitter_next:
 * @sp: the splitter
 * @in: bytes of the stream; advanced past what was used
 * @payload: set to the next payload, valid until the next call or until
 *     the memory behind @in goes
 * @errp: set when the stream can't be a stream of records, or when a record
 *     states another vnet header length than @sp has (0 is taken for
 *     "unstated": it is what filter-redirector states on a netdev that has
 *     no vnet headers)
 *
 * Take the next payload from the stream.  A payload that is all in @in is
 * not copied.
 *
 * Returns: 1 with a payload; 0 when @in is used up; -1 on error, after
 * which the rest of the stream means nothing.
 */
int af_packet_splitter_next(AfPacketSplitter *sp, struct iovec *in,
                            struct iovec *payload, Error **errp);

/**
 * af_packet_splitter_reset:
 * @sp: the splitter
 *
 * Forget a record that has come in partly; the next byte starts a record.
 *
 * Returns: true if there was one to forget.
 */
bool af_packet_splitter_reset(AfPacketSplitter *sp);

#endif
