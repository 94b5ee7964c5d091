/*
 * Checksums that were left to a network card
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel reports that a checksum in a frame is partial, but not in which
 * header.  The field itself shows it: it holds the sum of the pseudo header,
 * which a complete checksum does once in 65535 times.  In a tunnel it is one
 * header's, as a rule the inner one; a super-frame of a tunnel has two.
 *
 * A checksum may be called partial wrongly, by a guest, and a super-frame may
 * have any checksum, as its segments get their own.
 */
#ifndef CHARDEV_AF_PACKET_CSUM_H
#define CHARDEV_AF_PACKET_CSUM_H

typedef enum AfPacketCsum {
    AF_PACKET_CSUM_DONE,
    AF_PACKET_CSUM_UNMATCHED, /* was neither right nor partial; right now */
    AF_PACKET_CSUM_NONE,      /* there is none; the frame is unchanged */
} AfPacketCsum;

/**
 * af_packet_csum_complete:
 * @frame: a frame of which the kernel says that a checksum is partial
 * @len: its length in bytes
 *
 * Complete whatever checksum in the frame is partial, from the innermost
 * header outwards.  If none is, make the innermost one right.
 *
 * Returns: what was done.
 */
AfPacketCsum af_packet_csum_complete(uint8_t *frame, size_t len);

/**
 * af_packet_csum_check:
 * @frame: a super-frame of which the kernel says nothing
 * @len: its length in bytes
 *
 * Make the innermost checksum right, if it isn't.
 *
 * Returns: what was done.
 */
AfPacketCsum af_packet_csum_check(uint8_t *frame, size_t len);

/**
 * af_packet_csum_complete_sctp:
 * @frame: a frame
 * @len: its length in bytes
 * @start: where a header starts whose checksum is partial, in bytes
 *
 * Complete the checksum if that is an SCTP header: a vnet header can't
 * describe the checksum of SCTP.
 *
 * Returns: whether it is one.
 */
bool af_packet_csum_complete_sctp(uint8_t *frame, size_t len, size_t start);

#endif
