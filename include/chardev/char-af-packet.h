/*
 * Queries for frontends of socket chardevs with 'af-packet-mode'
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef CHARDEV_CHAR_AF_PACKET_H
#define CHARDEV_CHAR_AF_PACKET_H

#include "chardev/char.h"

/**
 * chr_af_packet_is_inject:
 * @chr: any chardev
 *
 * Returns: whether @chr has af-packet-mode=inject
 */
bool chr_af_packet_is_inject(Chardev *chr);

/**
 * chr_af_packet_vnet_hdr_len:
 * @chr: a chardev with 'af-packet-mode'
 *
 * Returns: length in bytes of the socket's vnet header, 0 without
 * PACKET_VNET_HDR, or -1 if the chardev has no socket
 */
int chr_af_packet_vnet_hdr_len(Chardev *chr);

/**
 * chr_af_packet_ifname:
 * @chr: a chardev with 'af-packet-mode'
 *
 * Returns: the current name of the interface that its socket is bound to, or
 * NULL if there is none.  Free with g_free().
 */
char *chr_af_packet_ifname(Chardev *chr);

/**
 * chr_af_packet_queue_frames:
 * @chr: a chardev with 'af-packet-mode'
 *
 * Returns: the number of frames that the interface has not accepted yet
 */
uint64_t chr_af_packet_queue_frames(Chardev *chr);

#endif
