/*
 * Bounded queue of frames that wait for an interface
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Like the transmit ring of a network card, it is a FIFO that refuses frames
 * when it is full.  Not thread-safe.
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
    size_t n_bytes; /* memory that they use */
    size_t max_bytes;
} AfPacketTxq;

/**
 * af_packet_txq_init:
 * @txq: the queue
 * @max_bytes: maximum memory for queued frames
 */
void af_packet_txq_init(AfPacketTxq *txq, size_t max_bytes);

/**
 * af_packet_txq_fits:
 * @txq: the queue
 * @len: length of a frame in bytes
 *
 * Returns: whether the queue has room for the frame.
 */
bool af_packet_txq_fits(const AfPacketTxq *txq, size_t len);

/**
 * af_packet_txq_push:
 * @txq: the queue
 * @data: the frame; copied
 * @len: its length in bytes
 *
 * Returns: false if the queue has no room for the frame.
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
