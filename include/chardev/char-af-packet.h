/*
 * Socket chardev with 'af-packet-mode': what its frontends may ask
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
 * Returns: whether it has af-packet-mode=inject
 */
bool chr_af_packet_is_inject(Chardev *chr);

/**
 * chr_af_packet_vnet_hdr_len:
 * @chr: a chardev with 'af-packet-mode'
 *
 * Returns: length in bytes of the vnet header that its socket has, or -1 if it
 * has no connection
 */
int chr_af_packet_vnet_hdr_len(Chardev *chr);

/**
 * chr_af_packet_queue_frames:
 * @chr: a chardev with 'af-packet-mode'
 *
 * Returns: how many frames wait for the interface
 */
uint64_t chr_af_packet_queue_frames(Chardev *chr);

#endif
