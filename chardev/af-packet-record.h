/*
 * Records that carry L2 frames in a byte stream
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * This is the format that net_fill_rstate() reads, as used by filter-mirror,
 * filter-redirector, colo-compare and -netdev stream/socket:
 *
 *   be32   length of the payload
 *   be32   length of the vnet header, only in the vnet format
 *   bytes  payload: the vnet header, if any, then the frame
 */
#ifndef CHARDEV_AF_PACKET_RECORD_H
#define CHARDEV_AF_PACKET_RECORD_H

#include "net/net.h"

/* Maximum length of a payload that readers accept, in bytes */
#define AF_PACKET_RECORD_MAX NET_BUFSIZE

/* Maximum length of a record's header, in bytes */
#define AF_PACKET_RECORD_HDR_MAX (2 * sizeof(uint32_t))

/**
 * af_packet_record_hdr_len:
 * @vnet_hdr_len: length of the vnet header in bytes, 0 for the plain format
 *
 * Returns: the length of a record's header in bytes.
 */
static inline size_t af_packet_record_hdr_len(size_t vnet_hdr_len)
{
    return vnet_hdr_len ? AF_PACKET_RECORD_HDR_MAX : sizeof(uint32_t);
}

/**
 * af_packet_record_put_hdr:
 * @payload: the payload, preceded by af_packet_record_hdr_len() bytes of
 *     headroom
 * @len: length of the payload in bytes, at most AF_PACKET_RECORD_MAX
 * @vnet_hdr_len: length of the vnet header in bytes, 0 for the plain format
 *
 * Prepend the header of a record to a payload.
 *
 * Returns: the start of the record.
 */
uint8_t *af_packet_record_put_hdr(uint8_t *payload, size_t len,
                                  size_t vnet_hdr_len);

/*
 * Splits a stream of records into payloads.  To use it, set @vnet_hdr_len and
 * zero the other fields; free it with af_packet_splitter_reset().
 */
typedef struct AfPacketSplitter {
    size_t vnet_hdr_len;  /* expected in records, 0 for the plain format */
    uint8_t head[AF_PACKET_RECORD_HDR_MAX];
    size_t head_have;     /* bytes of head received so far */
    uint8_t *partial;     /* buffer for a fragmented payload, or NULL */
    size_t partial_have;  /* bytes of partial received so far */
} AfPacketSplitter;

/**
 * af_packet_splitter_next:
 * @sp: the splitter
 * @in: bytes of the stream; advanced past the consumed ones
 * @payload: set to the next payload, valid until the next call or until the
 *     memory of @in is freed
 * @errp: set if this is not a stream of records, or if a record states a
 *     vnet header length different from that of @sp (0 is accepted as
 *     "unspecified", because filter-redirector states it for a netdev without
 *     vnet headers)
 *
 * Take the next payload from the stream.  A payload that is contiguous in @in
 * is not copied.
 *
 * Returns: 1 with a payload; 0 when @in is used up; -1 on error, and from then
 * on, because the rest of the stream must be ignored.
 */
int af_packet_splitter_next(AfPacketSplitter *sp, struct iovec *in,
                            struct iovec *payload, Error **errp);

/**
 * af_packet_splitter_reuses:
 * @sp: the splitter
 * @payload: a payload from af_packet_splitter_next()
 *
 * Returns: whether the next call of af_packet_splitter_next() can overwrite the
 * payload.  Otherwise, it is in the caller's memory.
 */
bool af_packet_splitter_reuses(const AfPacketSplitter *sp,
                               const struct iovec *payload);

/**
 * af_packet_splitter_reset:
 * @sp: the splitter
 *
 * Drop a partially received record; the next byte starts a new one.
 *
 * Returns: true if a record was dropped.
 */
bool af_packet_splitter_reset(AfPacketSplitter *sp);

#endif
