/*
 * Checks that netdev-takeover can inject frames for a guest
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef NET_TAKEOVER_CHECK_H
#define NET_TAKEOVER_CHECK_H

#include "chardev/char.h"
#include "net/net.h"

/**
 * takeover_check_netdev:
 * @id: ID of the guest's netdev, or NULL if it was not given
 * @errp: set if there is no such netdev, or if it is not a tap
 *
 * Returns: the netdev, or NULL on error
 */
NetClientState *takeover_check_netdev(const char *id, Error **errp);

/**
 * takeover_check_inject:
 * @chr: the chardev that frames are written to
 * @tap: the guest's netdev
 * @errp: set if what is written to @chr does not reach @tap
 *
 * A chardev that has no socket yet is accepted, because add_client may pass one.
 *
 * Returns: true if @chr can be used.
 */
bool takeover_check_inject(Chardev *chr, NetClientState *tap, Error **errp);

#endif
