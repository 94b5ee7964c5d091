/*
 * Unit tests of the af-packet channel: captured frames as on the wire
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "qapi/error.h"
#include "standard-headers/linux/virtio_net.h"
#include "af-packet-layers.h"
#include "channel-af-packet-rig.h"

/* Linux 6.4 */
#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ 24
#endif

static void tap_send(int tap, size_t len, int seq)
{
    g_autofree uint8_t *buf = g_malloc0(sizeof(struct virtio_net_hdr) + len);

    put_frame(buf + sizeof(struct virtio_net_hdr), len, seq);
    len += sizeof(struct virtio_net_hdr);
    g_assert_cmpint(write(tap, buf, len), ==, len);
}

/*
 * Send a datagram for a network card to fragment, as old guests do it.
 * @f: set to what is to be captured of it
 */
static void tap_send_ufo(int tap, Frame *f)
{
    static const Layer layers[] = { ETH, IP4, L4_UDP, END };
    const struct virtio_net_hdr hdr = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = VIRTIO_NET_HDR_GSO_UDP,
        .hdr_len = ETH_HLEN + 20 + 8,
        .gso_size = 1480,
        .csum_start = ETH_HLEN + 20,
        .csum_offset = 6,
    };
    struct iovec iov[2];

    frame_build(f, layers, 3000, 0);
    header_put_partial(f->headers);
    iov[0] = (struct iovec) { (void *)&hdr, sizeof(hdr) };
    iov[1] = (struct iovec) { f->start, frame_len(f) };
    g_assert_cmpint(writev(tap, iov, 2), ==, sizeof(hdr) + frame_len(f));
    frame_complete(f);
}

/* A channel on a tap's interface.  Returns: the tap, -1 if there is none. */
static int rig_init_tap(Rig *r, bool vnet_hdr, bool ring)
{
    const int rcvbuf = 100000, on = 1;
    int tap = tap_create(IFNAME, true), fd;

    *r = (Rig) { .mode = CAPTURE };
    if (tap < 0) {
        g_test_skip("no /dev/net/tun to make such a frame with");
        return tap;
    }
    link_set_up(IFNAME, true);
    fd = packet_open(IFNAME, ETH_P_ALL);
    if (vnet_hdr) {
        g_assert_cmpint(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on,
                                   sizeof(on)), ==, 0);
    }
    if (!ring) {
        g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf,
                                   sizeof(rcvbuf)), ==, 0);
    }
    rig_connect(r, fd, &(ChardevAfPacketStats) {});
    g_assert_cmpint(has_ring(fd), ==, ring && !vnet_hdr);
    return tap;
}

static void rig_expect_bytes(Rig *r, const uint8_t *bytes, size_t len)
{
    g_autofree uint8_t *got = g_malloc(len);

    rig_read(r, got, len, len);
    g_assert_cmpmem(got, len, bytes, len);
}

/*
 * Any kind of segmentation offload is captured without a vnet header, its
 * checksum complete, and does not keep the next frames away.
 */
static void do_test_ufo(bool ring)
{
    Rig r;
    int tap = rig_init_tap(&r, false, ring), i;
    uint8_t head[4] = {};
    Frame f;

    for (i = 1; tap >= 0 && i <= 5; i++) {
        tap_send(tap, 60, 2 * i);
        tap_send_ufo(tap, &f);
        tap_send(tap, 60, 2 * i + 1);
        rig_expect(&r, 60, 2 * i, 64);
        put_16(head + 2, frame_len(&f));
        rig_expect_bytes(&r, head, sizeof(head));
        rig_expect_bytes(&r, f.start, frame_len(&f));
        rig_expect(&r, 60, 2 * i + 1, 64);
        g_assert_cmpuint(rig_stats(&r).gso_frames, ==, i);
        g_assert_cmpuint(rig_stats(&r).frames, ==, 3 * i);
        g_assert_cmpuint(rig_stats(&r).csum_unmatched, ==, 0);
        frame_free(&f);
    }
    if (tap >= 0) {
        ChardevAfPacketStats stats = rig_stats(&r);

        g_assert_cmpuint(all_dropped(&stats), ==, 0);
        rig_disconnect(&r);
        close(tap);
    }
}

static void test_ufo_ring(void)
{
    do_test_ufo(true);
}

static void test_ufo_queue(void)
{
    do_test_ufo(false);
}

/* What a vnet header can't describe is counted, and the next frame passes. */
static void test_undescribable(void)
{
    uint8_t expected[60], got[2 * FRAME_MAX];
    Rig r;
    int tap = rig_init_tap(&r, true, true), i;
    Frame f;

    for (i = 1; tap >= 0 && i <= 5; i++) {
        tap_send_ufo(tap, &f);
        frame_free(&f);
        /* Nobody reads now, so that it is the service source that learns */
        rig_wait(&r, G_IO_HUP, A_WHILE);
        put_frame(expected, sizeof(expected), i);
        tap_send(tap, 60, i);
        g_assert_cmpuint(rig_read_frame(&r, got, 10), ==, 10 + 60);
        g_assert_cmpmem(got + 10, 60, expected, 60);
        g_assert_cmpuint(rig_stats(&r).dropped_undescribable, ==, i);
        g_assert_cmpuint(rig_stats(&r).dropped_kernel, ==, 0);
    }
    if (tap >= 0) {
        rig_disconnect(&r);
        close(tap);
    }
}

/*
 * VLAN tags, sent in the frame.  They arrive beside it, and ETH_P_ALL is
 * needed for that: what hears one ethertype comes after the tag was lost.
 */
static const struct {
    const char *name;
    size_t n_tags;
    uint8_t tags[12];
} vlan_cases[] = {
    { "802.1q", 1, { 0x81, 0x00, 0x00, 0x64 } },
    { "priority", 1, { 0x81, 0x00, 0xe0, 0x64 } },
    { "tci-0", 1, { 0x81, 0x00, 0x00, 0x00 } },
    { "priority-only", 1, { 0x81, 0x00, 0xa0, 0x00 } },
    { "802.1ad", 1, { 0x88, 0xa8, 0x0f, 0xff } },
    { "802.1ad-tci-0", 1, { 0x88, 0xa8, 0x00, 0x00 } },
    { "stacked", 2, { 0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x20, 0x65 } },
    { "stacked-0", 2, { 0x88, 0xa8, 0x00, 0x00, 0x81, 0x00, 0x00, 0x00 } },
    { "stacked-q", 2, { 0x81, 0x00, 0x00, 0x64, 0x81, 0x00, 0x00, 0x65 } },
    { "three", 3, { 0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x00, 0x65,
                    0x81, 0x00, 0x00, 0x66 } },
    { "none", 0 },
};

static size_t put_tagged(uint8_t *frame, size_t len, int i)
{
    size_t tags_len = vlan_cases[i].n_tags * 4;

    put_frame(frame, len, i);
    memmove(frame + 12 + tags_len, frame + 12, len - 12);
    memcpy(frame + 12, vlan_cases[i].tags, tags_len);
    return len + tags_len;
}

static void do_test_vlan(size_t vnet_hdr_len, int i, size_t untagged_len)
{
    ChardevAfPacketStats totals = {};
    Rig r = { .mode = CAPTURE };
    uint8_t frame[FRAME_MAX], got[4 * FRAME_MAX];
    size_t len = put_tagged(frame, untagged_len, i);
    int fd, size = vnet_hdr_len;

    veth_add(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    fd = packet_open(IFNAME, ETH_P_ALL);
    if (size) {
        g_assert_cmpint(setsockopt(fd, SOL_PACKET, vnet_hdr_len == 10 ?
                                   PACKET_VNET_HDR : PACKET_VNET_HDR_SZ,
                                   &size, sizeof(size)), ==, 0);
    }
    rig_connect(&r, fd, &totals);

    g_assert_cmpint(send(r.peer, frame, len, 0), ==, len);
    g_assert_cmpuint(rig_read_frame(&r, got, vnet_hdr_len), ==,
                     vnet_hdr_len + len);
    g_assert_cmpmem(got + vnet_hdr_len, len, frame, len);
    if (vnet_hdr_len) {
        struct virtio_net_hdr hdr;

        memcpy(&hdr, got, sizeof(hdr));
        g_assert_cmpint(hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, ==, 0);
        g_assert_cmpint(hdr.gso_type, ==, VIRTIO_NET_HDR_GSO_NONE);
    }
    rig_free(&r);
}

static void test_vlan(const void *opaque)
{
    static const size_t vnet_hdr_lens[] = { 0, 10, 12 };
    int i;

    for (i = 0; i < ARRAY_SIZE(vnet_hdr_lens); i++) {
        if (vnet_hdr_lens[i] == 12 &&
            !packet_socket_knows(SOL_PACKET, PACKET_VNET_HDR_SZ)) {
            continue;
        }
        /* in the ring, and too long for it */
        do_test_vlan(vnet_hdr_lens[i], GPOINTER_TO_INT(opaque), 100);
        do_test_vlan(vnet_hdr_lens[i], GPOINTER_TO_INT(opaque), 1000);
    }
}

/* 10.0.0.1:1 to 10.0.0.2:2, "hi!", its checksum left to a network card */
static size_t put_partial(uint8_t *frame, size_t tags_len)
{
    static const uint8_t packet[] = {
        0x08, 0x00,
        0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0x66, 0xcc,
        10, 0, 0, 1, 10, 0, 0, 2,
        0, 1, 0, 2, 0, 11, 0x14, 0x1f, 'h', 'i', '!',
    };

    put_frame(frame, ETH_HLEN, 0);
    memcpy(frame + 12, "\x81\x00\x00\x05\x81\x00\x00\x06", tags_len);
    memcpy(frame + 12 + tags_len, packet, sizeof(packet));
    return 12 + tags_len + sizeof(packet);
}

/* Send it with @tags_len bytes of tags, and read it with @vnet_hdr_len. */
static void do_test_partial(size_t vnet_hdr_len, size_t tags_len)
{
    struct virtio_net_hdr hdr = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .csum_start = 34 + tags_len,
        .csum_offset = 6,
    };
    uint8_t buf[sizeof(hdr) + 100], got[4 * FRAME_MAX];
    uint8_t *frame = buf + sizeof(hdr), *field;
    size_t len = put_partial(frame, tags_len);
    int fd, on = 1;
    Rig r = { .mode = CAPTURE };

    veth_add(IFNAME, PEER);
    r.peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    fd = packet_open(IFNAME, ETH_P_ALL);
    if (vnet_hdr_len) {
        g_assert_cmpint(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR,
                                   &on, sizeof(on)), ==, 0);
    }
    rig_connect(&r, fd, &(ChardevAfPacketStats) {});

    memcpy(buf, &hdr, sizeof(hdr));
    g_assert_cmpint(setsockopt(r.peer, SOL_PACKET, PACKET_VNET_HDR,
                               &on, sizeof(on)), ==, 0);
    g_assert_cmpint(send(r.peer, buf, sizeof(hdr) + len, 0), ==,
                    sizeof(hdr) + len);
    g_assert_cmpuint(rig_read_frame(&r, got, vnet_hdr_len), ==,
                     vnet_hdr_len + len);

    if (vnet_hdr_len) {
        memcpy(&hdr, got, sizeof(hdr));
    }
    if (!vnet_hdr_len || !(hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)) {
        /* Complete, by us or by the kernel */
        field = frame + 40 + tags_len;
        field[0] = 0x62;
        field[1] = 0x69;
    } else {
        g_assert_cmpint(hdr.csum_start, ==, 34 + tags_len);
        g_assert_cmpint(hdr.csum_offset, ==, 6);
    }
    g_assert_cmpmem(got + vnet_hdr_len, len, frame, len);
    rig_free(&r);
}

static void test_partial_checksum(void)
{
    size_t tags_len;

    for (tags_len = 0; tags_len <= 8; tags_len += 4) {
        do_test_partial(0, tags_len);
        do_test_partial(10, tags_len);
    }
}

static void add_tests(void)
{
    int i;

    add_simple_test("capture/ufo", "ring", test_ufo_ring);
    add_simple_test("capture/ufo", "queue", test_ufo_queue);
    add_simple_test("capture", "undescribable", test_undescribable);
    add_simple_test("capture", "partial-checksum", test_partial_checksum);
    for (i = 0; i < ARRAY_SIZE(vlan_cases); i++) {
        add_test("capture/vlan", vlan_cases[i].name, GINT_TO_POINTER(i),
                 test_vlan);
    }
}

int main(int argc, char **argv)
{
    return rig_run(argc, argv, add_tests);
}
