/*
 * Completion of checksums that were offloaded to a network card
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <netinet/in.h>
#include "qemu/bswap.h"
#include "qemu/crc32c.h"
#include "af-packet-csum.h"
#include "af-packet-headers.h"

/*
 * One's complement sums of 16-bit words (RFC 1071).  They do not depend on the
 * byte order, so it is enough to swap the result.
 */
static uint16_t fold(uint64_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static uint16_t sum_bytes(const uint8_t *data, size_t len)
{
    uint64_t sum = 0, word;

    for (; len >= sizeof(word); len -= sizeof(word)) {
        word = ldq_he_p(data);
        sum += (word >> 32) + (uint32_t)word;
        data += sizeof(word);
    }
    word = 0;
    memcpy(&word, data, len);
    sum += (word >> 32) + (uint32_t)word;
    return be16_to_cpu(fold(sum));
}

static size_t csum_field(const AfPacketHeader *h)
{
    switch (h->proto) {
    case IPPROTO_TCP:
        return h->start + 16;
    case IPPROTO_UDP:
        return h->start + 6;
    case IPPROTO_SCTP:
        return h->start + 8;
    case IPPROTO_GRE:
        return h->start + 4;
    default:
        g_assert_not_reached();
    }
}

static uint16_t pseudo_sum(const uint8_t *frame, const AfPacketHeader *h)
{
    if (!h->addr_len) {
        return 0;
    }
    return fold((uint64_t)sum_bytes(frame + h->src, h->addr_len) +
                sum_bytes(frame + h->dst, h->addr_len) + h->proto + h->len);
}

/* In UDP, 0 means "no checksum"; 0xffff is equivalent */
static void put_csum(uint8_t *field, uint16_t sum)
{
    stw_be_p(field, (uint16_t)~sum ?: 0xffff);
}

/* SCTP: little-endian CRC32c over the packet with a zero checksum field */
static uint32_t sctp_csum(uint8_t *frame, const AfPacketHeader *h)
{
    uint8_t *field = frame + csum_field(h);
    uint32_t old = ldl_le_p(field), crc;

    stl_le_p(field, 0);
    crc = crc32c(UINT32_MAX, frame + h->start, h->len);
    stl_le_p(field, old);
    return crc;
}

static bool is_partial(const uint8_t *frame, const AfPacketHeader *h)
{
    const uint8_t *field = frame + csum_field(h);

    if (h->proto == IPPROTO_SCTP) {
        return !ldl_le_p(field);
    }
    return lduw_be_p(field) % 0xffff == pseudo_sum(frame, h) % 0xffff;
}

/* Like a network card, sum up to the end of the frame and ignore IP lengths */
static void complete(uint8_t *frame, size_t len, const AfPacketHeader *h)
{
    uint8_t *field = frame + csum_field(h);

    if (h->proto == IPPROTO_SCTP) {
        stl_le_p(field, sctp_csum(frame, h));
    } else {
        put_csum(field, sum_bytes(frame + h->start, len - h->start));
    }
}

static bool csum_is_valid(uint8_t *frame, const AfPacketHeader *h)
{
    uint8_t *field = frame + csum_field(h);

    if (h->proto == IPPROTO_SCTP) {
        return ldl_le_p(field) == sctp_csum(frame, h);
    }
    if (h->proto == IPPROTO_UDP && !lduw_be_p(field)) {
        return true; /* no checksum */
    }
    return fold((uint64_t)pseudo_sum(frame, h) +
                sum_bytes(frame + h->start, h->len)) == 0xffff;
}

static void csum_recalculate(uint8_t *frame, const AfPacketHeader *h)
{
    uint8_t *field = frame + csum_field(h);

    if (h->proto == IPPROTO_SCTP) {
        stl_le_p(field, sctp_csum(frame, h));
    } else {
        stw_be_p(field, 0);
        put_csum(field, fold((uint64_t)pseudo_sum(frame, h) +
                             sum_bytes(frame + h->start, h->len)));
    }
}

/* Update the checksum of a header that encapsulates a changed one. */
static void adjust(uint8_t *frame, const AfPacketHeader *h)
{
    if (h->whole && !csum_is_valid(frame, h)) {
        csum_recalculate(frame, h);
    }
}

/* Returns: the innermost header whose checksum can be calculated, or -1. */
static int innermost(const AfPacketHeaders *headers)
{
    int i;

    for (i = headers->n - 1; i >= 0; i--) {
        if (headers->header[i].whole &&
            headers->header[i].proto != IPPROTO_GRE) {
            break;
        }
    }
    return i;
}

static void correct(uint8_t *frame, const AfPacketHeaders *headers, int i)
{
    csum_recalculate(frame, &headers->header[i]);
    while (--i >= 0) {
        adjust(frame, &headers->header[i]);
    }
}

AfPacketCsum af_packet_csum_complete(uint8_t *frame, size_t len)
{
    AfPacketHeaders headers;
    bool matched = false;
    int i;

    af_packet_headers_find(&headers, frame, len);
    for (i = headers.n - 1; i >= 0; i--) {
        if (is_partial(frame, &headers.header[i])) {
            complete(frame, len, &headers.header[i]);
            matched = true;
        } else if (matched) {
            adjust(frame, &headers.header[i]);
        }
    }
    if (matched) {
        return AF_PACKET_CSUM_DONE;
    }

    i = innermost(&headers);
    if (i < 0) {
        return AF_PACKET_CSUM_NONE;
    }
    correct(frame, &headers, i);
    return AF_PACKET_CSUM_UNMATCHED;
}

AfPacketCsum af_packet_csum_check(uint8_t *frame, size_t len)
{
    AfPacketHeaders headers;
    int i;

    af_packet_headers_find(&headers, frame, len);
    i = innermost(&headers);
    if (i < 0) {
        return AF_PACKET_CSUM_NONE;
    }
    if (csum_is_valid(frame, &headers.header[i])) {
        return AF_PACKET_CSUM_DONE;
    }
    correct(frame, &headers, i);
    return AF_PACKET_CSUM_UNMATCHED;
}

bool af_packet_csum_complete_sctp(uint8_t *frame, size_t len, size_t start)
{
    AfPacketHeaders headers;
    int i;

    af_packet_headers_find(&headers, frame, len);
    for (i = 0; i < headers.n; i++) {
        const AfPacketHeader *h = &headers.header[i];

        if (h->proto == IPPROTO_SCTP && h->start == start) {
            complete(frame, len, h);
            return true;
        }
    }
    return false;
}
