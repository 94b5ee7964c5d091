/*
 * Bounded queue of frames that wait for an interface
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a network card's transmit ring is to its driver: frames leave in the
 * order they came in, and a frame that finds no room is refused.  Not
 * locked.
 */
#ifndef CHARDEV_AF_PACKET_TXQ_H
#define CHARDEV_AF_PACKET_TXQ_H

#include "qemu/queue.h"

typedef struct AfPacketTxFrame AfPacketTxFrame;

struct AfPacketTxFrame {
    QSIMPLEQ_ENTRY(AfPacketTxFrame) next;
    size_t len;
    uint8_t data[];
};

typedef struct AfPacketTxq {
    QSIMPLEQ_HEAD(, AfPacketTxFrame) frames;
    size_t n_frames;
    size_t n_bytes; /* memory that they take */
    size_t max_bytes;
} AfPacketTxq;

/**
 * af_packet_txq_init:
 * @txq: the queue
 * @max_bytes: memory that waiting frames may take
 */
void af_packet_txq_init(AfPacketTxq *txq, size_t max_bytes);

/**
 * af_packet_txq_fits:
 * @txq: the queue
 * @len: length of a frame in bytes
 *
 * Returns: whether such a frame finds room.
 */
bool af_packet_txq_fits(const AfPacketTxq *txq, size_t len);

/**
 * af_packet_txq_push:
 * @txq: the queue
 * @data: the frame; copied
 * @len: its length in bytes
 *
 * Returns: false if the frame finds no room.
 */
bool af_packet_txq_push(AfPacketTxq *txq, const uint8_t *data, size_t len);

/**
 * af_packet_txq_head:
 * @txq: the queue
 *
 * Returns: the oldest frame, which stays in the queue, or NULL.
 */
const AfPacketTxFrame *af_packet_txq_head(const AfPacketTxq *txq);

/**
 * af_packet_txq_pop:
 * @txq: a queue that is not empty
 *
 * Free the oldest frame.
 */
void af_packet_txq_pop(AfPacketTxq *txq);

/**
 * af_packet_txq_clear:
 * @txq: the queue
 *
 * Free all frames.
 */
void af_packet_txq_clear(AfPacketTxq *txq);

#endif
