/*
 * af-packet-exec: file descriptors that a command inherits
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_DESCRIPTORS_H
#define AF_PACKET_EXEC_DESCRIPTORS_H

/**
 * descriptors_open_standard:
 *
 * Open /dev/null for each closed standard descriptor (0 to 2), so that no file
 * opened later becomes, for example, standard error.
 *
 * Returns: true on success.
 */
bool descriptors_open_standard(void);

/**
 * descriptors_reserve:
 * @number: the descriptor number of a socket in the command
 * @errp: set if @number is too high
 *
 * Occupy @number, so that no other file gets this descriptor in between; if it
 * is open, close it first.
 *
 * Returns: true on success.
 */
bool descriptors_reserve(int number, Error **errp);

/**
 * descriptors_mark_all:
 * @errp: set if open descriptors can't be listed
 *
 * Mark all descriptors from 3 on as close-on-exec.
 *
 * Returns: true on success.
 */
bool descriptors_mark_all(Error **errp);

#endif
