/*
 * Test helpers: a channel between AF_PACKET frames and records, and a far end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <net/if.h>
#include "io/channel-socket.h"
#include "qemu/bswap.h"
#include "qemu/sockets.h"
#include "standard-headers/linux/virtio_net.h"
#include "channel-af-packet-rig.h"

const size_t frame_lens[] = { 14, 60, 15, 1514, 61, 333, 14, 1513 };

int rig_open(Rig *r, ChardevSocketAfPacketMode mode, uint16_t proto)
{
    *r = (Rig) { .mode = mode };
    veth_add(IFNAME, PEER);
    link_set_mtu(IFNAME, MTU);
    link_set_mtu(PEER, MTU);
    r->peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    return packet_open(IFNAME, proto);
}

int rig_open_tap(Rig *r, size_t vnet_hdr_len)
{
    int fd;

    *r = (Rig) { .mode = CAPTURE, .tap = true, .vnet_hdr_len = vnet_hdr_len };
    r->peer = tap_create(IFNAME, true);
    if (r->peer < 0) {
        g_test_skip("creating such a frame requires /dev/net/tun");
        return -1;
    }
    link_set_up(IFNAME, true);
    fd = packet_open(IFNAME, ETH_P_ALL);
    if (vnet_hdr_len) {
        packet_set_vnet_hdr(fd);
    }
    return fd;
}

void rig_connect(Rig *r, int fd, const ChardevAfPacketStats *totals)
{
    const ChardevAfPacketStats none = {};
    QIOChannelSocket *sioc = qio_channel_socket_new_fd(fd, &error_abort);

    r->fd = fd;
    r->ioc = qio_channel_af_packet_new(sioc, r->mode, "test",
                                       totals ? totals : &none);
    r->base = QIO_CHANNEL(r->ioc);
    object_unref(OBJECT(sioc));
    qio_channel_af_packet_attach(r->ioc, NULL);
}

void rig_init(Rig *r, ChardevSocketAfPacketMode mode, uint16_t proto)
{
    rig_connect(r, rig_open(r, mode, proto), NULL);
}

bool rig_init_slow(Rig *r, uint32_t rate, uint32_t burst, uint32_t limit)
{
    rig_init(r, INJECT, 0);
    if (link_add_tbf(IFNAME, rate, burst, limit) < 0) {
        g_test_skip("the kernel has no token bucket filter");
        rig_free(r);
        return false;
    }
    return true;
}

void rig_disconnect(Rig *r)
{
    qio_channel_close(r->base, &error_abort);
    object_unref(OBJECT(r->ioc));
    /* Sources left in the main loop must not hold references */
    g_assert_cmpint(fcntl(r->fd, F_GETFD), <, 0);
    r->ioc = NULL;
}

void rig_free(Rig *r)
{
    if (r->ioc) {
        rig_disconnect(r);
    }
    if (r->peer > 0) {
        close(r->peer);
    }
    if (if_nametoindex(IFNAME)) {
        link_remove(IFNAME);
    }
}

ChardevAfPacketStats rig_stats(Rig *r)
{
    ChardevAfPacketStats stats;

    qio_channel_af_packet_get_stats(r->ioc, &stats);
    return stats;
}

uint64_t all_dropped(const ChardevAfPacketStats *s)
{
    return s->dropped_kernel + s->dropped_too_short + s->dropped_filtered +
           s->dropped_above_mtu +
           s->dropped_oversize + s->dropped_undescribable + s->dropped_csum +
           s->dropped_refused + s->dropped_tunnel_gso +
           s->dropped_queue_full + s->dropped_link_down + s->dropped_detach;
}

/*
 * Main loop
 */

static gboolean on_ready(QIOChannel *ioc, GIOCondition condition,
                         gpointer opaque)
{
    g_assert_cmpint(condition, !=, 0);
    *(GIOCondition *)opaque |= condition;
    return G_SOURCE_CONTINUE;
}

static GSource *rig_watch(Rig *r, GIOCondition condition, GIOCondition *ready)
{
    GSource *watch = qio_channel_create_watch(r->base, condition);

    g_source_set_callback(watch, (GSourceFunc)on_ready, ready, NULL);
    g_source_attach(watch, NULL);
    return watch;
}

static void end_watch(GSource *watch)
{
    g_source_destroy(watch);
    g_source_unref(watch);
}

/* Run the main loop, without spinning, until @ready is set or for @usec. */
static void wait_ready(const GIOCondition *ready, int64_t usec)
{
    int64_t end = deadline_in(usec);
    int n = 0;

    while (!*ready && main_loop_step(end)) {
        n++;
    }
    if (!*ready) {
        g_assert_cmpint(n, <, usec / 2000);
    }
}

GIOCondition rig_wait(Rig *r, GIOCondition condition, int64_t usec)
{
    GIOCondition ready = 0;
    GSource *watch = rig_watch(r, condition, &ready);

    wait_ready(&ready, usec);
    end_watch(watch);
    return ready;
}

void rig_assert_idle(Rig *r)
{
    GIOCondition ready = 0;
    GSource *in = rig_watch(r, G_IO_IN, &ready);
    GSource *hup = rig_watch(r, G_IO_HUP, &ready);

    wait_ready(&ready, QUIET_TIME);
    g_assert_cmpint(ready, ==, 0);
    end_watch(in);
    end_watch(hup);
}

void rig_wait_sent(Rig *r, uint64_t n)
{
    int64_t end = deadline_in(DEADLINE);

    while (rig_stats(r).frames < n) {
        g_assert_true(main_loop_step(end));
    }
}

/*
 * Frames and records
 */

static const uint8_t test_mac[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                    2, 't', 'e', 's', 't' };

void put_frame(uint8_t *frame, size_t len, int seq)
{
    size_t i;

    memcpy(frame, test_mac, sizeof(test_mac));
    frame[11] = seq;
    stw_be_p(frame + 12, TEST_ETHERTYPE);
    for (i = ETH_HLEN; i < len; i++) {
        frame[i] = seq * 31 + i * 7 + (i >> 8);
    }
}

void append_payload(const Rig *r, GByteArray *stream, const void *payload,
                    size_t len)
{
    uint8_t head[8];

    stl_be_p(head, len);
    stl_be_p(head + 4, r->vnet_hdr_len);
    g_byte_array_append(stream, head, r->vnet_hdr_len ? 8 : 4);
    g_byte_array_append(stream, payload, len);
}

void append_record(GByteArray *stream, size_t len, int seq)
{
    g_autofree uint8_t *frame = g_malloc0(MAX(len, ETH_HLEN));

    put_frame(frame, len, seq);
    append_payload(&(Rig) {}, stream, frame, len);
}

void peer_send(Rig *r, size_t len, int seq)
{
    const size_t head = r->tap ? sizeof(struct virtio_net_hdr) : 0;
    g_autofree uint8_t *buf = g_malloc0(head + len);

    put_frame(buf + head, len, seq);
    g_assert_cmpint(write(r->peer, buf, head + len), ==, head + len);
}

void peer_flood(Rig *r, size_t len, int n)
{
    while (n--) {
        peer_send(r, len, 0);
    }
}

void peer_expect(Rig *r, size_t len, int seq)
{
    uint8_t expected[FRAME_MAX], frame[2 * FRAME_MAX];
    ssize_t got = recv(r->peer, frame, sizeof(frame), 0);

    put_frame(expected, len, seq);
    g_assert_cmpint(got, >=, 0);
    g_assert_cmpmem(frame, got, expected, len);
}

void rig_read(Rig *r, uint8_t *buf, size_t len, size_t chunk)
{
    while (len) {
        ssize_t n = qio_channel_read(r->base, (char *)buf, MIN(len, chunk),
                                     &error_abort);

        if (n == QIO_CHANNEL_ERR_BLOCK) {
            g_assert_cmpint(rig_wait(r, G_IO_IN, DEADLINE), ==, G_IO_IN);
            continue;
        }
        g_assert_cmpint(n, >, 0);
        buf += n;
        len -= n;
    }
}

void rig_expect(Rig *r, size_t len, int seq, size_t chunk)
{
    g_autoptr(GByteArray) expected = g_byte_array_new();
    g_autofree uint8_t *got = NULL;

    append_record(expected, len, seq);
    got = g_malloc(expected->len);
    rig_read(r, got, expected->len, chunk);
    g_assert_cmpmem(got, expected->len, expected->data, expected->len);
}

size_t rig_read_frame(Rig *r, uint8_t *payload)
{
    uint8_t *frame = payload + r->vnet_hdr_len, head[8];
    size_t head_len = r->vnet_hdr_len ? 8 : 4, len;

    do {
        rig_read(r, head, head_len, head_len);
        len = ldl_be_p(head);
        if (r->vnet_hdr_len) {
            g_assert_cmpuint(ldl_be_p(head + 4), ==, r->vnet_hdr_len);
        }
        g_assert_cmpuint(len, <=, r->vnet_hdr_len + 2 * FRAME_MAX);
        rig_read(r, payload, len, len);
    } while (memcmp(frame, test_mac, sizeof(test_mac)) != 0);
    return len;
}

void rig_drain(Rig *r)
{
    char buf[4096];

    while (qio_channel_read(r->base, buf, sizeof(buf), &error_abort) > 0) {
        continue;
    }
}

ChardevAfPacketStats rig_account(Rig *r, int n)
{
    ChardevAfPacketStats stats;

    do {
        rig_drain(r);
        stats = rig_stats(r);
    } while (stats.frames + all_dropped(&stats) < n &&
             rig_wait(r, G_IO_IN, DEADLINE));
    g_assert_cmpuint(stats.frames + stats.dropped_kernel, ==, n);
    return stats;
}

void rig_expect_read(Rig *r, ssize_t result)
{
    char byte;

    g_assert_cmpint(qio_channel_read(r->base, &byte, 1, &error_abort), ==,
                    result);
}

void rig_write(Rig *r, const uint8_t *data, size_t len, size_t chunk)
{
    while (len) {
        size_t n = MIN(len, chunk);

        g_assert_cmpint(qio_channel_write(r->base, (const char *)data, n,
                                          &error_abort), ==, n);
        data += n;
        len -= n;
    }
}

void rig_write_record(Rig *r, size_t len, int seq)
{
    g_autoptr(GByteArray) stream = g_byte_array_new();

    append_record(stream, len, seq);
    rig_write(r, stream->data, stream->len, stream->len);
}

void rig_expect_pass(Rig *r, int seq)
{
    uint8_t expected[60], got[4 * FRAME_MAX];

    if (r->mode == INJECT) {
        rig_write_record(r, 60, seq);
        peer_expect(r, 60, seq);
    } else {
        put_frame(expected, 60, seq);
        peer_send(r, 60, seq);
        g_assert_cmpuint(rig_read_frame(r, got), ==, 60);
        g_assert_cmpmem(got, 60, expected, 60);
    }
}

void rig_refuse_write(Rig *r, const void *data, size_t len, const char *why)
{
    Error *err = NULL;

    g_assert_cmpint(qio_channel_write(r->base, data, len, &err), ==, -1);
    g_assert_nonnull(err);
    g_assert_nonnull(strstr(error_get_pretty(err), why));
    error_free(err);
}
