/*
 * Chardevs that an object reads packets from, or writes them to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef NET_PACKET_CHARDEV_H
#define NET_PACKET_CHARDEV_H

#include "chardev/char-fe.h"

/**
 * packet_chardev_attach:
 * @be: what will use the chardev
 * @type: the object's type, for messages
 * @option: the object's option that names the chardev, for messages
 * @id: the chardev's ID, or NULL if it was not given
 * @errp: set if there is none, or if others use it
 *
 * Chardevs go before objects when QEMU ends; so this also takes a reference.
 *
 * Returns: the chardev, for packet_chardev_detach(), or NULL
 */
Chardev *packet_chardev_attach(CharBackend *be, const char *type,
                               const char *option, const char *id,
                               Error **errp);

/**
 * packet_chardev_check_stream:
 * @chr: the chardev
 * @type: the object's type, for messages
 * @option: the object's option that names the chardev, for messages
 * @errp: set if it isn't one
 *
 * Returns: whether it is possible to wait until the chardev has room.
 */
bool packet_chardev_check_stream(Chardev *chr, const char *type,
                                 const char *option, Error **errp);

/**
 * packet_chardev_detach:
 * @be: what was attached
 * @chr: what packet_chardev_attach() has returned
 */
void packet_chardev_detach(CharBackend *be, Chardev *chr);

#endif
