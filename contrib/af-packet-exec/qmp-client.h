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
 * @user: whose QEMU it has to be, if not root's
 * @errp: set when nobody is there, somebody else, or busy with another client
 *
 * From now on, ten seconds in all are spent on waiting for the other side.
 *
 * Returns: a monitor that is ready for commands, or NULL.
 */
QmpClient *qmp_client_open(const char *path, uid_t user, Error **errp);

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
 * qmp_client_take_back:
 * @qmp: a monitor
 *
 * Have QEMU close all descriptors that it was given, as far as it listens.
 */
void qmp_client_take_back(QmpClient *qmp);

/**
 * qmp_client_close:
 * @qmp: a monitor, or NULL
 */
void qmp_client_close(QmpClient *qmp);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpClient, qmp_client_close)

#endif
