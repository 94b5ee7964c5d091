/*
 * Unit tests of the af-packet channel: captured frames as on the wire
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <linux/if_packet.h>
#include "standard-headers/linux/virtio_net.h"
#include "af-packet-layers.h"
#include "channel-af-packet-rig.h"

/*
 * Send a datagram for the network card to fragment, like old guests do.
 * @f: set to the expected captured frame
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

/* A channel on a tap's interface.  Returns: false if there is none. */
static bool init_tap(Rig *r, size_t vnet_hdr_len, bool ring)
{
    int fd = rig_open_tap(r, vnet_hdr_len);

    if (fd < 0) {
        return false;
    }
    if (!ring) {
        socket_set_int(fd, SOL_SOCKET, SO_RCVBUF, 100000);
    }
    rig_connect(r, fd, NULL);
    g_assert_cmpint(packet_has_ring(fd), ==, ring && !vnet_hdr_len);
    return true;
}

static void rig_expect_bytes(Rig *r, const uint8_t *bytes, size_t len)
{
    g_autofree uint8_t *got = g_malloc(len);

    rig_read(r, got, len, len);
    g_assert_cmpmem(got, len, bytes, len);
}

/*
 * Without vnet headers, frames with any segmentation offload are captured with
 * a complete checksum, and do not block the frames that follow.
 */
static void do_test_ufo(bool ring)
{
    ChardevAfPacketStats stats;
    uint8_t head[4] = {};
    Frame f;
    Rig r;
    int i;

    if (!init_tap(&r, 0, ring)) {
        return;
    }
    for (i = 1; i <= 5; i++) {
        peer_send(&r, 60, 2 * i);
        tap_send_ufo(r.peer, &f);
        peer_send(&r, 60, 2 * i + 1);
        rig_expect(&r, 60, 2 * i, 64);
        put_16(head + 2, frame_len(&f));
        rig_expect_bytes(&r, head, sizeof(head));
        rig_expect_bytes(&r, f.start, frame_len(&f));
        rig_expect(&r, 60, 2 * i + 1, 64);
        stats = rig_stats(&r);
        g_assert_cmpuint(stats.gso_frames, ==, i);
        g_assert_cmpuint(stats.frames, ==, 3 * i);
        g_assert_cmpuint(stats.csum_unmatched, ==, 0);
        frame_free(&f);
    }
    g_assert_cmpuint(all_dropped(&stats), ==, 0);
    rig_free(&r);
}

static void test_ufo_ring(void)
{
    do_test_ufo(true);
}

static void test_ufo_queue(void)
{
    do_test_ufo(false);
}

/* A frame that a vnet header can't describe is counted; the next one passes. */
static void test_undescribable(void)
{
    uint8_t expected[60], got[2 * FRAME_MAX];
    Frame f;
    Rig r;
    int i;

    if (!init_tap(&r, 10, true)) {
        return;
    }
    for (i = 1; i <= 5; i++) {
        tap_send_ufo(r.peer, &f);
        frame_free(&f);
        /* Without a reader, the service source handles the error */
        rig_wait(&r, G_IO_HUP, QUIET_TIME);
        put_frame(expected, sizeof(expected), i);
        peer_send(&r, 60, i);
        g_assert_cmpuint(rig_read_frame(&r, got), ==, 10 + 60);
        g_assert_cmpmem(got + 10, 60, expected, 60);
        g_assert_cmpuint(rig_stats(&r).dropped_undescribable, ==, i);
        g_assert_cmpuint(rig_stats(&r).dropped_kernel, ==, 0);
    }
    rig_free(&r);
}

/*
 * VLAN tags are sent in the frame, and received as metadata.  This requires
 * ETH_P_ALL: sockets for a single ethertype get the frame without its tag.
 */
typedef struct VlanCase {
    const char *name;
    size_t n_tags;
    uint8_t tags[12];
} VlanCase;

static const VlanCase vlan_cases[] = {
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

static size_t put_tagged(uint8_t *frame, size_t len,
                         const VlanCase *c)
{
    size_t tags_len = c->n_tags * 4;

    put_frame(frame, len, c - vlan_cases);
    memmove(frame + 12 + tags_len, frame + 12, len - 12);
    memcpy(frame + 12, c->tags, tags_len);
    return len + tags_len;
}

static void do_test_vlan(const VlanCase *c, size_t vnet_hdr_len,
                         size_t untagged_len)
{
    Rig r;
    uint8_t frame[FRAME_MAX], got[4 * FRAME_MAX];
    size_t len = put_tagged(frame, untagged_len, c);
    int fd;

    fd = rig_open(&r, CAPTURE, ETH_P_ALL);
    r.vnet_hdr_len = vnet_hdr_len;
    if (vnet_hdr_len) {
        socket_set_int(fd, SOL_PACKET, vnet_hdr_len == 10 ?
                       PACKET_VNET_HDR : PACKET_VNET_HDR_SZ, vnet_hdr_len);
    }
    rig_connect(&r, fd, NULL);

    g_assert_cmpint(send(r.peer, frame, len, 0), ==, len);
    g_assert_cmpuint(rig_read_frame(&r, got), ==,
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
        /* fits into a ring slot, and does not */
        do_test_vlan(opaque, vnet_hdr_lens[i], 100);
        do_test_vlan(opaque, vnet_hdr_lens[i], 1900);
    }
}

/* 10.0.0.1:1 to 10.0.0.2:2, "hi!", with an offloaded checksum */
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
    int fd;
    Rig r;

    fd = rig_open(&r, CAPTURE, ETH_P_ALL);
    r.vnet_hdr_len = vnet_hdr_len;
    if (vnet_hdr_len) {
        packet_set_vnet_hdr(fd);
    }
    rig_connect(&r, fd, NULL);

    memcpy(buf, &hdr, sizeof(hdr));
    packet_set_vnet_hdr(r.peer);
    g_assert_cmpint(send(r.peer, buf, sizeof(hdr) + len, 0), ==,
                    sizeof(hdr) + len);
    g_assert_cmpuint(rig_read_frame(&r, got), ==,
                     vnet_hdr_len + len);

    if (vnet_hdr_len) {
        memcpy(&hdr, got, sizeof(hdr));
    }
    if (!vnet_hdr_len || !(hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)) {
        /* Completed by QEMU or by the kernel */
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

int main(int argc, char **argv)
{
    suite_init(&argc, &argv, "/channel-af-packet/capture");
    suite_add("ufo/ring", test_ufo_ring);
    suite_add("ufo/queue", test_ufo_queue);
    suite_add("undescribable", test_undescribable);
    suite_add("partial-checksum", test_partial_checksum);
    SUITE_ADD_TABLE("vlan", vlan_cases, test_vlan);
    return g_test_run();
}
