/*
 * af-packet-exec: the interfaces that the system lets everybody use
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_ACL_H
#define AF_PACKET_EXEC_ACL_H

/**
 * acl_allows:
 * @ifname: what the kernel calls the interface
 * @errp: set when the system's file does not allow @ifname, is not there, or
 *        has a line that makes no sense
 *
 * Returns: true when a user whose only privilege is this program's file
 *          capability may have sockets on @ifname.
 */
bool acl_allows(const char *ifname, Error **errp);

#endif
