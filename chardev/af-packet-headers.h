/*
 * Parser for the headers of a frame that have a checksum
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Finds TCP, UDP, SCTP and GRE after Ethernet, VLAN tags, MPLS labels, IPv4 and
 * IPv6 with extension headers, and inside VXLAN, Geneve, GRE and IP in IP.
 * Frames come from guests and are not trusted.
 */
#ifndef CHARDEV_AF_PACKET_HEADERS_H
#define CHARDEV_AF_PACKET_HEADERS_H

#define AF_PACKET_HEADERS_MAX 8

/*
 * @proto: IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, or IPPROTO_GRE with the
 *     checksum bit set
 * @whole: the frame contains everything that the checksum covers
 * @start: offset of the header in the frame, in bytes
 * @len: length of header and payload in bytes, without padding; never exceeds
 *     the frame
 * @src, @dst, @addr_len: offsets and length in bytes of the addresses in the
 *     pseudo header, with the final destination if there is a routing header;
 *     all 0 for GRE and SCTP, which don't use a pseudo header
 */
typedef struct AfPacketHeader {
    uint8_t proto;
    bool whole;
    size_t start;
    size_t len;
    size_t src;
    size_t dst;
    size_t addr_len;
} AfPacketHeader;

/*
 * @outer_proto, @outer_start: protocol and offset of the payload of the
 *     outermost IP header; -1 and 0 if there is no IP header, or if the frame
 *     lacks the start of its payload
 * @n, @header: headers with a checksum, from the outermost to the innermost
 */
typedef struct AfPacketHeaders {
    int outer_proto;
    size_t outer_start;
    unsigned n;
    AfPacketHeader header[AF_PACKET_HEADERS_MAX];
} AfPacketHeaders;

/**
 * af_packet_headers_find:
 * @headers: set to the headers that were found
 * @frame: a frame
 * @len: its length in bytes
 *
 * The frame contains each header that is found at least up to its checksum.
 * No more than AF_PACKET_HEADERS_MAX headers are found.
 */
void af_packet_headers_find(AfPacketHeaders *headers, const uint8_t *frame,
                            size_t len);

#endif
