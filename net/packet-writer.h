/*
 * Writes records of packets to a character device, as it has room
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Records have a vnet header.  What finds no room waits here; whoever makes
 * them is to make no more until there is room.  When a connection ends, the
 * next one starts with the first record that had not gone wholly.
 *
 * All functions want the big lock.
 */
#ifndef NET_PACKET_WRITER_H
#define NET_PACKET_WRITER_H

#include "chardev/char-fe.h"
#include "packet-records.h"

/* Bytes that may wait before packet_writer_has_room() says no */
#define PACKET_WRITER_ENOUGH (64 * 1024)

/* What stands before a payload, in bytes */
#define PACKET_WRITER_HEAD_LEN (2 * sizeof(uint32_t))

/**
 * PacketWriter:
 * @chr: attached to a chardev that reports when it is writable
 * @on_room: called when there is room again, or when all is written
 * @on_answer: called when the peer has sent @answer, or NULL
 * @answer: what the peer may send, any number of times; if it sends anything
 *     else, its connection ends
 * @answer_len: length of @answer in bytes
 * @opaque: passed to both
 * @on_hold: while it is set, nothing is written and all waits
 *
 * The rest is the writer's own.
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
    size_t answered;    /* bytes of the next answer */
    bool has_room;      /* as far as is known */
    guint watch;        /* waits for room, 0 if not */
} PacketWriter;

/**
 * packet_writer_start:
 * @w: what is to be set is set, the rest is zero
 */
void packet_writer_start(PacketWriter *w);

/**
 * packet_writer_stop:
 * @w: a writer, started
 *
 * Write what can be written.  A connection that has a record partly is closed.
 *
 * Returns: the bytes of whole records that are lost.
 */
size_t packet_writer_stop(PacketWriter *w);

/**
 * packet_writer_clear:
 * @w: a writer, started
 *
 * Drop all that waits.  A connection that has a record partly is closed.
 */
void packet_writer_clear(PacketWriter *w);

/**
 * packet_writer_put:
 * @w: a writer, started
 * @payload: of a record, behind PACKET_WRITER_HEAD_LEN bytes for its head,
 *     which is written
 * @len: length of the payload in bytes, at most NET_BUFSIZE
 * @vnet_hdr_len: how many of these are the vnet header's
 *
 * It is written with the next packet_writer_flush().
 */
void packet_writer_put(PacketWriter *w, uint8_t *payload, size_t len,
                       size_t vnet_hdr_len);

/**
 * packet_writer_flush:
 * @w: a writer, started
 *
 * Write what waits, as far as there is room.
 */
void packet_writer_flush(PacketWriter *w);

/**
 * packet_writer_has_room:
 * @w: a writer, started
 *
 * Returns: whether more records may come.
 */
bool packet_writer_has_room(const PacketWriter *w);

/**
 * packet_writer_waiting:
 * @w: a writer, started
 *
 * Returns: how many bytes wait
 */
size_t packet_writer_waiting(const PacketWriter *w);

#endif
