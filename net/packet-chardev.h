/*
 * Chardevs that an object reads packets from or writes packets to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef NET_PACKET_CHARDEV_H
#define NET_PACKET_CHARDEV_H

#include "chardev/char-fe.h"

/**
 * packet_chardev_attach:
 * @be: the frontend to attach
 * @type: the object's type, for messages
 * @option: the object's option that names the chardev, for messages
 * @id: the chardev's ID, or NULL if it was not given
 * @errp: set if there is no such chardev, or if it is shared or in use
 *
 * Also takes a reference, because QEMU deletes chardevs before objects when it
 * exits.
 *
 * Returns: the chardev, for packet_chardev_detach(), or NULL on error
 */
Chardev *packet_chardev_attach(CharBackend *be, const char *type,
                               const char *option, const char *id,
                               Error **errp);

/**
 * packet_chardev_check_stream:
 * @chr: the chardev
 * @type: the object's type, for messages
 * @option: the object's option that names the chardev, for messages
 * @errp: set if the chardev cannot report when it is writable
 *
 * Returns: true if it is possible to wait until the chardev is writable.
 */
bool packet_chardev_check_stream(Chardev *chr, const char *type,
                                 const char *option, Error **errp);

/**
 * packet_chardev_detach:
 * @be: the attached frontend
 * @chr: the return value of packet_chardev_attach(), may be NULL
 */
void packet_chardev_detach(CharBackend *be, Chardev *chr);

#endif
