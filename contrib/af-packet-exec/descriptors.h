/*
 * af-packet-exec: the descriptors that a command inherits
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_DESCRIPTORS_H
#define AF_PACKET_EXEC_DESCRIPTORS_H

/**
 * descriptors_open_standard:
 *
 * Connect those of 0 to 2 that are closed to /dev/null: what is opened later
 * must not become somebody's standard error.
 *
 * Returns: true on success.
 */
bool descriptors_open_standard(void);

/**
 * descriptors_reserve:
 * @number: the number that the command will know a socket by
 * @errp: set when it is too high
 *
 * Occupy @number, so that nothing else is opened there meanwhile; what it was
 * before is closed.
 *
 * Returns: true on success.
 */
bool descriptors_reserve(int number, Error **errp);

/**
 * descriptors_mark_all:
 * @errp: set when open descriptors can't be listed
 *
 * Let the command inherit nothing from 3 on.
 *
 * Returns: true on success.
 */
bool descriptors_mark_all(Error **errp);

#endif
