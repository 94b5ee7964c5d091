/*
 * Flow-controlled writer of packet records to a character device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Records have a vnet header.  What the chardev does not accept is queued here;
 * callers must stop adding records until there is room.  When a connection
 * ends, the next one starts with the first record not completely written.
 *
 * All functions must be called with the BQL held.
 */
#ifndef NET_PACKET_WRITER_H
#define NET_PACKET_WRITER_H

#include "chardev/char-fe.h"
#include "packet-records.h"

/* Queued bytes from which on packet_writer_has_room() returns false */
#define PACKET_WRITER_HIGH_WATER (64 * 1024)

/* Length of a record's header, in bytes */
#define PACKET_WRITER_HDR_LEN (2 * sizeof(uint32_t))

/**
 * PacketWriter:
 * @chr: attached to a chardev that reports when it is writable
 * @on_room: called when the queue was written and there is room again
 * @on_answer: called each time the peer has sent @answer, or NULL
 * @answer: the only message that the peer may send, any number of times;
 *     anything else closes the connection
 * @answer_len: length of @answer in bytes
 * @opaque: passed to both callbacks
 * @on_hold: while set, records are queued but not written
 *
 * The other fields are private.
 */
typedef struct PacketWriter {
    CharBackend chr;
    void (*on_room)(void *opaque);
    void (*on_answer)(void *opaque);
    const uint8_t *answer;
    size_t answer_len;
    void *opaque;
    bool on_hold;

    PacketRecords records;
    size_t answered;    /* bytes of the next answer received so far */
    bool has_room;      /* the last write did not block */
    guint watch;        /* for G_IO_OUT, or 0 */
} PacketWriter;

/**
 * packet_writer_start:
 * @w: the writer, with its public fields set and all others zero
 */
void packet_writer_start(PacketWriter *w);

/**
 * packet_writer_stop:
 * @w: a started writer
 *
 * Write as much of the queue as possible.  The connection is closed if a record
 * was only partially written.
 *
 * Returns: the size in bytes of the records that are lost.
 */
size_t packet_writer_stop(PacketWriter *w);

/**
 * packet_writer_clear:
 * @w: a started writer
 *
 * Drop the queue.  The connection is closed if a record was only partially
 * written.
 */
void packet_writer_clear(PacketWriter *w);

/**
 * packet_writer_put:
 * @w: a started writer
 * @payload: the record's payload, preceded by PACKET_WRITER_HDR_LEN bytes
 *     that are overwritten with the record's header
 * @len: length of the payload in bytes, at most NET_BUFSIZE
 * @vnet_hdr_len: length of the vnet header that the payload starts with
 *
 * Queue a record; the next packet_writer_flush() writes it.
 */
void packet_writer_put(PacketWriter *w, uint8_t *payload, size_t len,
                       size_t vnet_hdr_len);

/**
 * packet_writer_flush:
 * @w: a started writer
 *
 * Write as much of the queue as the chardev accepts.
 */
void packet_writer_flush(PacketWriter *w);

/**
 * packet_writer_has_room:
 * @w: a started writer
 *
 * Returns: whether the caller may add more records.
 */
bool packet_writer_has_room(const PacketWriter *w);

/**
 * packet_writer_waiting:
 * @w: a started writer
 *
 * Returns: the number of queued bytes
 */
size_t packet_writer_waiting(const PacketWriter *w);

#endif
