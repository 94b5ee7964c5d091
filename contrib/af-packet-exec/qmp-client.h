/*
 * af-packet-exec: pass sockets to a running QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_QMP_CLIENT_H
#define AF_PACKET_EXEC_QMP_CLIENT_H

typedef struct QmpClient QmpClient;

/**
 * qmp_client_open:
 * @path: the UNIX socket of a QMP monitor
 * @user: the user that QEMU must run as, unless it runs as root
 * @errp: set if nobody listens on @path, if another user does, or if the
 *        monitor is busy with another client
 *
 * This starts a total timeout of ten seconds for all communication.
 *
 * Returns: a monitor that is ready for commands, or NULL.
 */
QmpClient *qmp_client_open(const char *path, uid_t user, Error **errp);

/**
 * qmp_client_getfd:
 * @qmp: a monitor
 * @fd: a descriptor
 * @fdname: the descriptor's name in QEMU
 * @errp: set if QEMU refuses the descriptor
 *
 * Returns: true on success.
 */
bool qmp_client_getfd(QmpClient *qmp, int fd, const char *fdname, Error **errp);

/**
 * qmp_client_take_back:
 * @qmp: a monitor
 *
 * Try to make QEMU close all descriptors that it has received.
 */
void qmp_client_take_back(QmpClient *qmp);

/**
 * qmp_client_close:
 * @qmp: a monitor, or NULL
 */
void qmp_client_close(QmpClient *qmp);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpClient, qmp_client_close)

#endif
