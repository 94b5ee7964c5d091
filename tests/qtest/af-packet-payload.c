/*
 * QTest helpers: frames with offloads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <linux/if_packet.h>
#include "af-packet-payload.h"
#include "qemu/bswap.h"

/* --- Payloads: a vnet header, if there is one, and a frame --- */

bool packet_try_vnet_hdr(int fd, int len)
{
    int on = 1;

    if (len == VNET_HDR_LEN) {
        return setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR,
                          &on, sizeof(on)) == 0;
    }
    return setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR_SZ,
                      &len, sizeof(len)) == 0;
}

uint8_t *payload_frame(Payload *p)
{
    return p->buf + p->vnet_hdr_len;
}

struct virtio_net_hdr payload_vnet_hdr(const Payload *p)
{
    struct virtio_net_hdr hdr;

    memcpy(&hdr, p->buf, sizeof(hdr));
    return hdr;
}

void payload_send(const Payload *p, int fd)
{
    size_t len = p->vnet_hdr_len + p->len;

    g_assert_cmpint(send(fd, p->buf, len, 0), ==, len);
}

void payload_recv(Payload *p, int fd)
{
    ssize_t len = recv(fd, p->buf, sizeof(p->buf), 0);

    g_assert_cmpint(len, >, p->vnet_hdr_len);
    p->len = len - p->vnet_hdr_len;
}

void payload_read(Payload *p, Relay *relay)
{
    uint8_t head[8];
    size_t head_len = relay->vnet_hdr ? 8 : 4;

    record_read_socket(&relay->rec, head, head_len);
    if (relay->vnet_hdr) {
        g_assert_cmpuint(ldl_be_p(head + 4), ==, 0);
    }
    p->len = ldl_be_p(head) - p->vnet_hdr_len;
    g_assert_cmpuint(p->len, <=, LEN_MAX);
    record_read_socket(&relay->rec, p->buf, p->vnet_hdr_len + p->len);
}

void payload_write(const Payload *p, Relay *relay, uint32_t stated)
{
    size_t len = p->vnet_hdr_len + p->len;
    uint8_t head[8];

    stl_be_p(head, len);
    stl_be_p(head + 4, stated);
    g_assert_cmpint(send(relay->rec, head, relay->vnet_hdr ? 8 : 4, 0), >, 0);
    g_assert_cmpint(send(relay->rec, p->buf, len, 0), ==, len);
}

/* --- Packets, in frames with VLAN tags --- */

const Tags all_tags[N_TAGS] = {
    { "none", 0 },
    { "802.1q", 4, { 0x81, 0x00, 0x00, 0x64 } },
    { "priority", 4, { 0x81, 0x00, 0xa0, 0x00 } },
    { "tci-0", 4, { 0x81, 0x00, 0x00, 0x00 } },
    { "802.1ad", 4, { 0x88, 0xa8, 0x0f, 0xff } },
    { "stacked", 8, { 0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x20, 0x65 } },
};

const Protocol protocols[N_PROTOCOLS] = {
    { "udp4", false, false, VIRTIO_NET_HDR_GSO_UDP_L4 },
    { "tcp4", false, true, VIRTIO_NET_HDR_GSO_TCPV4 },
    { "udp6", true, false, VIRTIO_NET_HDR_GSO_UDP_L4 },
    { "tcp6", true, true, VIRTIO_NET_HDR_GSO_TCPV6 },
};

size_t ip_hlen(const Protocol *proto)
{
    return proto->v6 ? 40 : 20;
}

size_t l4_hlen(const Protocol *proto)
{
    return proto->tcp ? 20 : 8;
}

static size_t csum_offset(const Protocol *proto)
{
    return proto->tcp ? 16 : 6;
}

/* Add up 16-bit words according to RFC 1071. */
static uint32_t add_words(uint32_t sum, const uint8_t *data, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        sum += i % 2 ? data[i] : data[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* The sum of the pseudo header, for @len bytes after the IP header */
static uint32_t pseudo_sum(const Protocol *proto, const uint8_t *ip,
                           size_t len)
{
    const uint8_t words[] = { len >> 24, len >> 16, len >> 8, len,
                              0, proto->tcp ? 6 : 17 };
    uint32_t sum = add_words(0, words, sizeof(words));

    return proto->v6 ? add_words(sum, ip + 8, 32) : add_words(sum, ip + 12, 8);
}

static void put_ip(const Protocol *proto, uint8_t *ip, size_t len)
{
    static const uint8_t v4[] = { 0x45, 0, 0, 0, 0, 1, 0, 0, 64, 0, 0, 0,
                                  10, 0, 0, 1, 10, 0, 0, 2 };
    static const uint8_t v6[40] = { 0x60, 0, 0, 0, 0, 0, 0, 64,
                                    0xfd, 0, [23] = 1, 0xfd, 0, [39] = 2 };

    if (proto->v6) {
        memcpy(ip, v6, sizeof(v6));
        stw_be_p(ip + 4, len);
        ip[6] = proto->tcp ? 6 : 17;
    } else {
        memcpy(ip, v4, sizeof(v4));
        stw_be_p(ip + 2, sizeof(v4) + len);
        ip[9] = proto->tcp ? 6 : 17;
        stw_be_p(ip + 10, ~add_words(0, ip, sizeof(v4)));
    }
}

/* Write a header without checksum and data, @len bytes in total */
static void put_l4(const Protocol *proto, uint8_t *l4, size_t len)
{
    size_t i;

    memset(l4, 0, l4_hlen(proto));
    stw_be_p(l4, 1024);
    stw_be_p(l4 + 2, 1025);
    if (proto->tcp) {
        l4[12] = 5 << 4;
        l4[13] = 0x10; /* ACK */
    } else {
        stw_be_p(l4 + 4, len);
    }
    for (i = l4_hlen(proto); i < len; i++) {
        l4[i] = i * 7 + (i >> 8);
    }
}

size_t ip_start(const Tags *tags)
{
    return ETH_HLEN + tags->len;
}

void payload_fill(Payload *p, const Protocol *proto, const Tags *tags,
                         size_t data_len, size_t gso_size)
{
    size_t l4_start = ip_start(tags) + ip_hlen(proto);
    size_t l4_len = l4_hlen(proto) + data_len;
    struct virtio_net_hdr hdr = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = gso_size ? proto->gso_type : VIRTIO_NET_HDR_GSO_NONE,
        .hdr_len = gso_size ? l4_start + l4_hlen(proto) : 0,
        .gso_size = gso_size,
        .csum_start = l4_start,
        .csum_offset = csum_offset(proto),
    };
    uint8_t *frame = p->buf + VNET_HDR_LEN;

    *p = (Payload) { .vnet_hdr_len = VNET_HDR_LEN };
    p->len = l4_start + l4_len;
    g_assert_cmpuint(p->len, <=, LEN_MAX);
    memcpy(p->buf, &hdr, sizeof(hdr));

    memset(frame, 0xff, ETH_ALEN);
    memcpy(frame + ETH_ALEN, "\2" "test!", ETH_ALEN);
    memcpy(frame + 2 * ETH_ALEN, tags->bytes, tags->len);
    stw_be_p(frame + ip_start(tags) - 2, proto->v6 ? ETH_P_IPV6 : ETH_P_IP);
    put_ip(proto, frame + ip_start(tags), l4_len);
    put_l4(proto, frame + l4_start, l4_len);
    stw_be_p(frame + l4_start + csum_offset(proto),
             pseudo_sum(proto, frame + ip_start(tags), l4_len));
}

void payload_complete(Payload *p)
{
    struct virtio_net_hdr hdr = payload_vnet_hdr(p);
    uint8_t *frame = payload_frame(p);
    uint16_t sum = ~add_words(0, frame + hdr.csum_start,
                              p->len - hdr.csum_start);

    stw_be_p(frame + hdr.csum_start + hdr.csum_offset, sum ?: 0xffff);
}

void expect_same_frame(Payload *got, Payload *expected)
{
    g_assert_cmpmem(payload_frame(got), got->len,
                    payload_frame(expected), expected->len);
}

void expect_same_vnet_hdr(const Payload *got, const Payload *expected)
{
    struct virtio_net_hdr a = payload_vnet_hdr(got);
    struct virtio_net_hdr b = payload_vnet_hdr(expected);

    g_assert_cmpint(a.flags, ==, b.flags);
    g_assert_cmpint(a.gso_type, ==, b.gso_type);
    g_assert_cmpint(a.gso_size, ==, b.gso_size);
    g_assert_cmpint(a.hdr_len, ==, b.hdr_len);
    g_assert_cmpint(a.csum_start, ==, b.csum_start);
    g_assert_cmpint(a.csum_offset, ==, b.csum_offset);
}
