/*
 * af-packet-exec: interfaces that the system administrator allows to all users
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_ACL_H
#define AF_PACKET_EXEC_ACL_H

/**
 * acl_allows:
 * @ifname: the kernel's name of the interface
 * @errp: set if the system's configuration file does not allow @ifname, does
 *        not exist, or has an invalid line
 *
 * Returns: true if a user whose only privilege is this program's file
 *          capability may open sockets on @ifname.
 */
bool acl_allows(const char *ifname, Error **errp);

#endif
