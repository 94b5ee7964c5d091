/*
 * Flow-controlled writer of packet records to a character device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "packet-writer.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"

#define READ_SIZE (4 * 1024)

size_t packet_writer_waiting(const PacketWriter *w)
{
    return packet_records_waiting(&w->records).iov_len;
}

bool packet_writer_has_room(const PacketWriter *w)
{
    return w->has_room && packet_writer_waiting(w) < PACKET_WRITER_HIGH_WATER;
}

static gboolean writer_on_room(void *do_not_use, GIOCondition condition,
                               void *opaque)
{
    PacketWriter *w = opaque;

    w->watch = 0;
    w->has_room = true;
    packet_writer_flush(w);
    if (w->has_room) {
        w->on_room(w->opaque);
    }
    return G_SOURCE_REMOVE;
}

/*
 * A chardev may block only writers that have watched for G_IO_OUT before (see
 * QIOChannelAfPacket), so a new connection starts with a watch, too.
 */
static void writer_wait_for_room(PacketWriter *w)
{
    w->has_room = false;
    if (!w->watch) {
        w->watch = qemu_chr_fe_add_watch(&w->chr, G_IO_OUT | G_IO_HUP,
                                         writer_on_room, w);
    }
}

static void writer_stop_watch(PacketWriter *w)
{
    if (w->watch) {
        g_source_remove(w->watch);
        w->watch = 0;
    }
}

/* The chardev accepts no more data.  This disconnects a socket. */
static void writer_fail(PacketWriter *w)
{
    w->has_room = false;
    qemu_chr_fe_disconnect(&w->chr);
    if (qemu_chr_fe_backend_open(&w->chr)) {
        error_report("writing to chardev '%s' failed; no more packets are "
                     "written to it", qemu_chr_fe_get_driver(&w->chr)->label);
    }
}

void packet_writer_flush(PacketWriter *w)
{
    struct iovec waiting = packet_records_waiting(&w->records);
    int ret;

    if (w->on_hold || !w->has_room || !waiting.iov_len) {
        return;
    }
    ret = qemu_chr_fe_write(&w->chr, waiting.iov_base, waiting.iov_len);
    if (ret < 0 && errno != EAGAIN) {
        writer_fail(w);
        return;
    }
    packet_records_sent(&w->records, MAX(ret, 0));
    if (ret < (int)waiting.iov_len) {
        writer_wait_for_room(w);
    }
}

void packet_writer_put(PacketWriter *w, uint8_t *payload, size_t len,
                       size_t vnet_hdr_len)
{
    uint8_t *record = payload - PACKET_WRITER_HDR_LEN;

    assert(len <= NET_BUFSIZE && vnet_hdr_len <= len);
    stl_be_p(record, len);
    stl_be_p(record + sizeof(uint32_t), vnet_hdr_len);
    packet_records_put(&w->records,
                       (struct iovec) { record, PACKET_WRITER_HDR_LEN + len },
                       0);
}

static int writer_can_read(void *opaque)
{
    return READ_SIZE;
}

static void writer_refuse_answer(PacketWriter *w)
{
    error_report("chardev '%s': unexpected data, the peer is not a "
                 "netdev-takeover: closing the connection",
                 qemu_chr_fe_get_driver(&w->chr)->label);
    qemu_chr_fe_disconnect(&w->chr);
}

static void writer_read(void *opaque, const uint8_t *buf, int size)
{
    PacketWriter *w = opaque;
    int i;

    for (i = 0; w->on_answer && i < size; i++) {
        if (buf[i] != w->answer[w->answered]) {
            writer_refuse_answer(w);
            return;
        }
        if (++w->answered == w->answer_len) {
            w->answered = 0;
            w->on_answer(w->opaque);
        }
    }
}

static void writer_event(void *opaque, QEMUChrEvent event)
{
    PacketWriter *w = opaque;

    switch (event) {
    case CHR_EVENT_OPENED:
        writer_wait_for_room(w);
        break;
    case CHR_EVENT_CLOSED:
        w->has_room = false;
        w->answered = 0;
        writer_stop_watch(w);
        packet_records_rewind(&w->records);
        break;
    default:
        break;
    }
}

void packet_writer_start(PacketWriter *w)
{
    packet_records_init(&w->records, true);
    qemu_chr_fe_set_handlers(&w->chr, writer_can_read, writer_read,
                             writer_event, NULL, w, NULL, true);
}

void packet_writer_clear(PacketWriter *w)
{
    bool torn = packet_records_rewind(&w->records);

    packet_records_sent(&w->records, packet_writer_waiting(w));
    if (torn) {
        qemu_chr_fe_disconnect(&w->chr);
    }
}

size_t packet_writer_stop(PacketWriter *w)
{
    size_t lost;

    packet_writer_flush(w);
    lost = packet_writer_waiting(w);
    packet_writer_clear(w);
    writer_stop_watch(w);
    qemu_chr_fe_set_handlers(&w->chr, NULL, NULL, NULL, NULL, NULL, NULL,
                             false);
    packet_records_destroy(&w->records);
    return lost;
}
