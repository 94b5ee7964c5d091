/*
 * Records of packets on their way from one byte stream to another
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Bytes that come in pieces go on as whole records, as net_fill_rstate()
 * reads them:
 *
 *   be32   length of the payload, at most NET_BUFSIZE
 *   be32   length of the vnet header, only in the vnet form
 *   bytes  payload: the vnet header, if any, then the packet
 *
 * Nothing but the head of a record is looked at.  Not locked.
 */
#ifndef NET_PACKET_RECORDS_H
#define NET_PACKET_RECORDS_H

#include "net/net.h"
#include "qemu/units.h"

/* The most that stands before a payload, in bytes */
#define PACKET_RECORD_HEAD_MAX (2 * sizeof(uint32_t))

/* The longest record, in bytes */
#define PACKET_RECORD_MAX (PACKET_RECORD_HEAD_MAX + NET_BUFSIZE)

/*
 * How many bytes may wait.  What a peer has sent before it hangs up comes at
 * once, room or not, and more peers may do so; this is enough for what a socket
 * chardev buffers.
 */
#define PACKET_RECORDS_WAITING_MAX (32 * MiB)

typedef struct PacketRecords {
    bool vnet_hdr;      /* the form */
    GByteArray *bytes;  /* starts with a record */
    size_t sent;        /* of these bytes */
    size_t whole;       /* of these bytes belong to whole records */
    uint64_t n_records; /* whole ones that have come in */
    uint64_t n_bytes;   /* of these */
} PacketRecords;

/**
 * packet_records_init:
 * @records: to be ended with packet_records_destroy()
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
 * @in: bytes of the stream; advanced past what was used
 * @whole: set to the whole records in these bytes, where they are, which the
 *     caller has to send or to packet_records_put()
 * @errp: set if what follows in @in can't be a record
 *
 * Complete the record that has come in partly, and find the end of the whole
 * ones.  What remains in @in, unless there is an error, is the start of
 * another, for packet_records_put_partial().
 *
 * Returns: false on error; @whole is set to what comes before it.
 */
bool packet_records_next(PacketRecords *records, struct iovec *in,
                         struct iovec *whole, Error **errp);

/**
 * packet_records_count:
 * @records: tells the form
 * @whole: whole records
 *
 * Returns: how many there are.
 */
size_t packet_records_count(const PacketRecords *records, struct iovec whole);

/**
 * packet_records_put:
 * @records: the records, none of which is partial
 * @whole: whole records, or nothing; copied
 * @sent: how many of these bytes are sent already; if there are any, nothing
 *     else may wait
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
 * Forget a record that has come in partly; the next byte starts a record.
 *
 * Returns: true if there was one to forget.
 */
bool packet_records_drop_partial(PacketRecords *records);

/**
 * packet_records_waiting:
 * @records: the records
 *
 * Returns: what is to be sent next, valid until anything is put.
 */
struct iovec packet_records_waiting(const PacketRecords *records);

/**
 * packet_records_sent:
 * @records: the records
 * @len: how many of the bytes that wait were sent
 */
void packet_records_sent(PacketRecords *records, size_t len);

/**
 * packet_records_rewind:
 * @records: the records
 *
 * Have a record that was sent partly sent once more, from its start.
 *
 * Returns: true if there is one.
 */
bool packet_records_rewind(PacketRecords *records);

#endif
