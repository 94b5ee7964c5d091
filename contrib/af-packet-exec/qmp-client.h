/*
 * af-packet-exec: hand a socket to a QEMU that runs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_QMP_CLIENT_H
#define AF_PACKET_EXEC_QMP_CLIENT_H

typedef struct QmpClient QmpClient;

/**
 * qmp_client_open:
 * @path: a QMP monitor's unix socket
 * @errp: set when nobody is there, or busy with another client
 *
 * Returns: a monitor that is ready for commands, or NULL.
 */
QmpClient *qmp_client_open(const char *path, Error **errp);

/**
 * qmp_client_getfd:
 * @qmp: a monitor
 * @fd: a descriptor
 * @fdname: the name that QEMU is to know it by
 * @errp: set when QEMU refuses it
 *
 * Returns: true on success.
 */
bool qmp_client_getfd(QmpClient *qmp, int fd, const char *fdname, Error **errp);

/**
 * qmp_client_close:
 * @qmp: a monitor, or NULL
 */
void qmp_client_close(QmpClient *qmp);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpClient, qmp_client_close)

#endif
