/*
 * Completion of checksums that were offloaded to a network card
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel reports that a checksum in a frame is partial, but not in which
 * header.  It is recognized by its value: a partial checksum is the sum of the
 * pseudo header, which a complete checksum equals once in 65535 times.  With a
 * tunnel, it is usually in the inner header; a tunneled super-frame has two.
 *
 * A guest may wrongly declare a checksum as partial, and the checksum of a
 * super-frame is arbitrary, because its segments get their own.
 */
#ifndef CHARDEV_AF_PACKET_CSUM_H
#define CHARDEV_AF_PACKET_CSUM_H

typedef enum AfPacketCsum {
    AF_PACKET_CSUM_DONE,
    AF_PACKET_CSUM_UNMATCHED, /* neither valid nor partial; recalculated */
    AF_PACKET_CSUM_NONE,      /* no checksum found; the frame is unchanged */
} AfPacketCsum;

/**
 * af_packet_csum_complete:
 * @frame: a frame for which the kernel reports a partial checksum
 * @len: its length in bytes
 *
 * Complete all partial checksums in the frame, from the innermost header
 * outwards.  If there are none, recalculate the innermost checksum.
 *
 * Returns: what was done.
 */
AfPacketCsum af_packet_csum_complete(uint8_t *frame, size_t len);

/**
 * af_packet_csum_check:
 * @frame: a super-frame for which the kernel reports no partial checksum
 * @len: its length in bytes
 *
 * Recalculate the innermost checksum if it is invalid.
 *
 * Returns: what was done.
 */
AfPacketCsum af_packet_csum_check(uint8_t *frame, size_t len);

/**
 * af_packet_csum_complete_sctp:
 * @frame: a frame
 * @len: its length in bytes
 * @start: offset of the header with the partial checksum, in bytes
 *
 * Complete the checksum if this is an SCTP header, because a vnet header can't
 * describe SCTP checksums.
 *
 * Returns: whether it is an SCTP header.
 */
bool af_packet_csum_complete_sctp(uint8_t *frame, size_t len, size_t start);

#endif
