/*
 * Queue of packet records between two byte streams
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reassembles a byte stream into complete records, in the format that
 * net_fill_rstate() reads:
 *
 *   be32   length of the payload, at most NET_BUFSIZE
 *   be32   length of the vnet header, only with @vnet_hdr
 *   bytes  payload: the vnet header, if any, then the packet
 *
 * Only the header of a record is parsed.  Not thread-safe.
 */
#ifndef NET_PACKET_RECORDS_H
#define NET_PACKET_RECORDS_H

#include "net/net.h"
#include "qemu/units.h"

/* Maximum length of a record's header, in bytes */
#define PACKET_RECORD_HDR_MAX (2 * sizeof(uint32_t))

/* Maximum length of a record, in bytes */
#define PACKET_RECORD_MAX (PACKET_RECORD_HDR_MAX + NET_BUFSIZE)

/*
 * Maximum number of queued bytes.  What a peer sent before it hung up is read
 * at once, whether there is room or not, and more peers may follow; this is
 * enough for the receive buffer of a socket chardev.
 */
#define PACKET_RECORDS_WAITING_MAX (32 * MiB)

typedef struct PacketRecords {
    bool vnet_hdr;      /* records state the length of a vnet header */
    GByteArray *bytes;  /* the queue; starts with the start of a record */
    size_t sent;        /* number of queued bytes that were sent */
    size_t whole;       /* number of queued bytes in whole records */
    uint64_t n_records; /* whole records received so far */
    uint64_t n_bytes;   /* bytes in these records */
} PacketRecords;

/**
 * packet_records_init:
 * @records: the records; free them with packet_records_destroy()
 * @vnet_hdr: whether records state the length of a vnet header
 */
void packet_records_init(PacketRecords *records, bool vnet_hdr);

/**
 * packet_records_destroy:
 * @records: initialized, or all zero
 */
void packet_records_destroy(PacketRecords *records);

/**
 * packet_records_next:
 * @records: the records
 * @in: bytes of the stream; advanced past the consumed ones
 * @whole: set to the part of @in that consists of whole records, which the
 *     caller has to send or to pass to packet_records_put()
 * @errp: set if the next bytes of @in cannot be a record
 *
 * Complete the partial record, if there is one, and find the whole records that
 * follow.  Unless there is an error, @in is left with the start of another
 * record, for packet_records_put_partial().
 *
 * Returns: false on error; @whole is then set to the records before it.
 */
bool packet_records_next(PacketRecords *records, struct iovec *in,
                         struct iovec *whole, Error **errp);

/**
 * packet_records_count:
 * @records: the records, for the format
 * @whole: whole records
 *
 * Returns: the number of records in @whole.
 */
size_t packet_records_count(const PacketRecords *records, struct iovec whole);

/**
 * packet_records_put:
 * @records: the records, none of which is partial
 * @whole: whole records, or nothing; copied
 * @sent: number of these bytes that were sent already; unless it is 0, the
 *     queue must be empty
 */
void packet_records_put(PacketRecords *records, struct iovec whole,
                        size_t sent);

/**
 * packet_records_put_partial:
 * @records: the records, none of which is partial
 * @part: the start of a record, or nothing; copied
 */
void packet_records_put_partial(PacketRecords *records, struct iovec part);

/**
 * packet_records_drop_partial:
 * @records: the records
 *
 * Drop a partially received record; the next byte starts a new one.
 *
 * Returns: true if a record was dropped.
 */
bool packet_records_drop_partial(PacketRecords *records);

/**
 * packet_records_waiting:
 * @records: the records
 *
 * Returns: the bytes to send next, valid until the queue changes.
 */
struct iovec packet_records_waiting(const PacketRecords *records);

/**
 * packet_records_sent:
 * @records: the records
 * @len: number of bytes from packet_records_waiting() that were sent
 */
void packet_records_sent(PacketRecords *records, size_t len);

/**
 * packet_records_rewind:
 * @records: the records
 *
 * Send a partially sent record again, from its start.
 *
 * Returns: true if there is such a record.
 */
bool packet_records_rewind(PacketRecords *records);

#endif
