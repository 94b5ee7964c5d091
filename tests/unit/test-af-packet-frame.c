/*
 * Unit tests for reinsertion of VLAN tags
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "chardev/af-packet-frame.h"
#include "standard-headers/linux/virtio_net.h"

#define VLAN_LEN 4
#define CANARY 0xa5

/* Fields of a vnet header that a tag affects */
typedef struct VnetCase {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t csum_start;
    /* Expected new values */
    uint16_t hdr_len_after;
    uint16_t csum_start_after;
} VnetCase;

static const VnetCase vnet_cases[] = {
    /* Both fields are meaningless and must not change */
    { 0, VIRTIO_NET_HDR_GSO_NONE, 0, 0, 0, 0 },
    { 0, VIRTIO_NET_HDR_GSO_NONE, 54, 34, 54, 34 },
    { VIRTIO_NET_HDR_F_DATA_VALID, VIRTIO_NET_HDR_GSO_NONE, 54, 34, 54, 34 },
    { VIRTIO_NET_HDR_F_RSC_INFO, VIRTIO_NET_HDR_GSO_NONE, 1, 2, 1, 2 },
    /* A partial checksum */
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE, 0, 34, 0, 38 },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE, 66, 54, 66, 58 },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID,
      VIRTIO_NET_HDR_GSO_NONE, 0, 34, 0, 38 },
    /* Frames to be segmented, with one and without */
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 66, 34, 70, 38 },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV6, 86, 54, 90, 58 },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM,
      VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 66, 34, 70, 38 },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_UDP_L4, 42, 34, 46, 38 },
    { 0, VIRTIO_NET_HDR_GSO_UDP, 42, 34, 46, 34 },
    { VIRTIO_NET_HDR_F_DATA_VALID, VIRTIO_NET_HDR_GSO_TCPV4, 66, 34, 70, 34 },
    /* Sums above 255 */
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV6,
      0x01fe, 0x00fd, 0x0202, 0x0101 },
};

static const struct {
    uint16_t tpid;
    uint16_t tci;
    uint8_t bytes[VLAN_LEN];
} tags[] = {
    { 0x8100, 0x0001, { 0x81, 0x00, 0x00, 0x01 } },
    { 0x8100, 0x0fff, { 0x81, 0x00, 0x0f, 0xff } },
    { 0x8100, 0xf234, { 0x81, 0x00, 0xf2, 0x34 } },
    { 0x8100, 0x0000, { 0x81, 0x00, 0x00, 0x00 } },
    { 0x8100, 0xe000, { 0x81, 0x00, 0xe0, 0x00 } },
    { 0x88a8, 0x0064, { 0x88, 0xa8, 0x00, 0x64 } },
    { 0x88a8, 0x0000, { 0x88, 0xa8, 0x00, 0x00 } },
    { 0x9100, 0x1abc, { 0x91, 0x00, 0x1a, 0xbc } },
};

/* The minimum, a bare header, the usual ones, a long one */
static const size_t frame_lens[] = { 12, 14, 18, 60, 1514, 65549 };

static const size_t vnet_hdr_lens[] = { 0, 10, 12 };

/* Write the vnet header of @c as it is before or after. */
static void put_vnet_hdr(uint8_t *buf, size_t len, const VnetCase *c,
                         bool after)
{
    struct virtio_net_hdr hdr = {
        .flags = c->flags,
        .gso_type = c->gso_type,
        .hdr_len = after ? c->hdr_len_after : c->hdr_len,
        .gso_size = 1448,
        .csum_start = after ? c->csum_start_after : c->csum_start,
        .csum_offset = 16,
    };

    g_assert_cmpuint(sizeof(hdr), ==, 10);
    memset(buf, 0x3c, len); /* num_buffers, where there is one */
    memcpy(buf, &hdr, MIN(len, sizeof(hdr)));
}

/* Write a frame in which all bytes differ from their neighbors. */
static void put_frame(uint8_t *buf, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        buf[i] = i * 13 + (i >> 8) + 1;
    }
}

static void do_test_vlan(size_t vnet_hdr_len, size_t len, int tag,
                         const VnetCase *c)
{
    size_t room = 16, total = room + vnet_hdr_len + len + room;
    g_autofree uint8_t *buf = g_malloc(total);
    g_autofree uint8_t *expected = g_malloc(total);
    g_autofree uint8_t *frame = g_malloc(len);
    uint8_t *p = expected + room - VLAN_LEN;

    put_frame(frame, len);
    memset(buf, CANARY, total);
    put_vnet_hdr(buf + room, vnet_hdr_len, c, false);
    memcpy(buf + room + vnet_hdr_len, frame, len);

    memset(expected, CANARY, total);
    put_vnet_hdr(p, vnet_hdr_len, c, true);
    p += vnet_hdr_len;
    memcpy(p, frame, 12);
    memcpy(p + 12, tags[tag].bytes, VLAN_LEN);
    memcpy(p + 12 + VLAN_LEN, frame + 12, len - 12);

    g_assert_true(af_packet_frame_put_vlan(buf + room, vnet_hdr_len,
                                           tags[tag].tpid, tags[tag].tci)
                  == buf + room - VLAN_LEN);
    g_assert_cmpmem(buf, total, expected, total);
}

static void test_vlan(const void *opaque)
{
    size_t vnet_hdr_len = *(const size_t *)opaque;
    int tag, i, k;

    for (tag = 0; tag < ARRAY_SIZE(tags); tag++) {
        for (i = 0; i < ARRAY_SIZE(frame_lens); i++) {
            for (k = 0; k < ARRAY_SIZE(vnet_cases); k++) {
                do_test_vlan(vnet_hdr_len, frame_lens[i], tag,
                             &vnet_cases[k]);
            }
        }
    }
}

/* The kernel only strips the outer tag: the inner one is in the frame. */
static void test_vlan_stacked(void)
{
    uint8_t buf[] = {
        CANARY, CANARY, CANARY, CANARY, CANARY,
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2,
        0x81, 0x00, 0x00, 0x07, 0x88, 0xb5, 0x11, 0x22,
    };
    const uint8_t expected[] = {
        CANARY,
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xa8, 0x20, 0x03,
        0x81, 0x00, 0x00, 0x07, 0x88, 0xb5, 0x11, 0x22,
    };

    g_assert_true(af_packet_frame_put_vlan(buf + 5, 0, 0x88a8, 0x2003)
                  == buf + 1);
    g_assert_cmpmem(buf, sizeof(buf), expected, sizeof(expected));
}

/* The fields of the vnet header must not wrap around at 16 bits. */
static void test_vlan_wrap(void)
{
    static const struct {
        uint16_t start;
        uint16_t hdr_len;
        bool fits;
        uint16_t hdr_len_after;
    } cases[] = {
        { 65531, 14, true, 18 },
        { 65532, 14, false },
        { 65535, 14, false },
        { 34, 65531, true, 65535 },
        { 34, 65532, true, 65535 },
        { 34, 65535, true, 65535 },
    };
    uint8_t buf[VLAN_LEN + sizeof(struct virtio_net_hdr) + 60], *start;
    int i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        struct virtio_net_hdr hdr = {
            .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
            .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
            .csum_start = cases[i].start,
            .hdr_len = cases[i].hdr_len,
        };

        memset(buf, 0, sizeof(buf));
        memcpy(buf + VLAN_LEN, &hdr, sizeof(hdr));
        start = af_packet_frame_put_vlan(buf + VLAN_LEN, sizeof(hdr), 0x8100,
                                         1);
        if (!cases[i].fits) {
            g_assert_null(start);
        } else {
            g_assert_true(start == buf);
            memcpy(&hdr, buf, sizeof(hdr));
            g_assert_cmpuint(hdr.csum_start, ==, cases[i].start + VLAN_LEN);
            g_assert_cmpuint(hdr.hdr_len, ==, cases[i].hdr_len_after);
        }
    }
}

static void add_vlan_tests(void)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(vnet_hdr_lens); i++) {
        g_autofree char *path = g_strdup_printf("/af-packet-frame/vlan/%zu",
                                                vnet_hdr_lens[i]);

        g_test_add_data_func(path, &vnet_hdr_lens[i], test_vlan);
    }
    g_test_add_func("/af-packet-frame/vlan/stacked", test_vlan_stacked);
    g_test_add_func("/af-packet-frame/vlan/wrap", test_vlan_wrap);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    add_vlan_tests();

    return g_test_run();
}
