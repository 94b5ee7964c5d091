/*
 * Headers with a checksum in a frame
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Finds TCP, UDP, SCTP and GRE behind Ethernet, VLAN tags, MPLS labels, IPv4,
 * IPv6 with extension headers, and inside of VXLAN, Geneve, GRE and IP in IP.
 * Frames come from guests: nothing in them is taken for granted.
 */
#ifndef CHARDEV_AF_PACKET_HEADERS_H
#define CHARDEV_AF_PACKET_HEADERS_H

#define AF_PACKET_HEADERS_MAX 8

/*
 * @proto: IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, or IPPROTO_GRE if that has
 *     a checksum
 * @whole: all of what the checksum is about is in the frame
 * @start: where the header starts, in bytes from the start of the frame
 * @len: length of header and payload in bytes, without padding; no more than
 *     there is
 * @src, @dst, @addr_len: where the addresses of the pseudo header are, the
 *     last destination if there is a route, and the length of each in bytes;
 *     all 0 for GRE and SCTP, which don't have that
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
 * @outer_proto, @outer_start: what the first IP header carries, and where that
 *     starts; -1 and 0 if there is no IP header, or no start of its payload
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
 * @headers: set to what there is
 * @frame: a frame
 * @len: its length in bytes
 *
 * Each header is in the frame up to its checksum at least.  What is nested
 * more than AF_PACKET_HEADERS_MAX times is not looked for.
 */
void af_packet_headers_find(AfPacketHeaders *headers, const uint8_t *frame,
                            size_t len);

#endif
