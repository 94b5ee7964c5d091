/*
 * Bounded queue of frames that wait for an interface
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "af-packet-txq.h"

void af_packet_txq_init(AfPacketTxq *txq, size_t max_bytes)
{
    *txq = (AfPacketTxq) { .max_bytes = max_bytes };
    QSIMPLEQ_INIT(&txq->frames);
}

bool af_packet_txq_fits(const AfPacketTxq *txq, size_t len)
{
    return sizeof(AfPacketTxFrame) + len <= txq->max_bytes - txq->n_bytes;
}

bool af_packet_txq_push(AfPacketTxq *txq, const uint8_t *data, size_t len)
{
    AfPacketTxFrame *frame;

    if (!af_packet_txq_fits(txq, len)) {
        return false;
    }

    frame = g_malloc(sizeof(*frame) + len);
    frame->len = len;
    memcpy(frame->data, data, len);
    QSIMPLEQ_INSERT_TAIL(&txq->frames, frame, next);
    txq->n_frames++;
    txq->n_bytes += sizeof(*frame) + len;
    return true;
}

const AfPacketTxFrame *af_packet_txq_head(const AfPacketTxq *txq)
{
    return QSIMPLEQ_FIRST(&txq->frames);
}

void af_packet_txq_pop(AfPacketTxq *txq)
{
    AfPacketTxFrame *frame = QSIMPLEQ_FIRST(&txq->frames);

    QSIMPLEQ_REMOVE_HEAD(&txq->frames, next);
    txq->n_frames--;
    txq->n_bytes -= sizeof(*frame) + frame->len;
    g_free(frame);
}

void af_packet_txq_clear(AfPacketTxq *txq)
{
    while (af_packet_txq_head(txq)) {
        af_packet_txq_pop(txq);
    }
}
