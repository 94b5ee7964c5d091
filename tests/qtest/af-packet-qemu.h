/*
 * QTest helpers: a QEMU with a chardev on a packet socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The chardev's ID is "pkt".  Any failure here fails the test.
 */
#ifndef TESTS_QTEST_AF_PACKET_QEMU_H
#define TESTS_QTEST_AF_PACKET_QEMU_H

#include "../unit/af-packet-helpers.h"
#include "packet-stream.h"
#include "qobject/qdict.h"

/* Members of ChardevSocket: the fd that qemu_getfd() passes as "pkt-fd" */
#define QMP_FD "'addr': { 'type': 'fd', 'data': { 'str': 'pkt-fd' } }"
#define QMP_CLIENT QMP_FD ", 'server': false"

/* Let the next QEMU that is started inherit @fd */
void fd_set_inherited(int fd);

/* --- QEMU, by QMP --- */

/* Start QEMU with no devices other than in @args */
QTestState *qemu_start(const char *args);

/* The same, in a network namespace without our links */
QTestState *qemu_start_elsewhere(const char *args);

/* Pass @fd to QEMU as "pkt-fd", and close it here */
void qemu_getfd(QTestState *qts, int fd);

/*
 * The -chardev option of "pkt", for the next QEMU that is started and inherits
 * @fd.  @fd may be -1, @mode and @more may be NULL.
 */
char *chardev_option(int fd, const char *mode, const char *more);

/* The ChardevSocket of "pkt" with the JSON @members; @mode may be NULL */
QObject *chardev_data(const char *mode, const char *members);

/* chardev-add of @data, a ChardevSocket, as "pkt".  Returns: the response */
QDict *chardev_add(QTestState *qts, QObject *data);

/* add_client of @fd to "pkt".  Returns: the response */
QDict *chardev_add_client(QTestState *qts, int fd);

/* chardev-remove of "pkt" */
void chardev_remove(QTestState *qts);

/* The filename of chardev "pkt", or NULL if there is no such chardev */
char *chardev_filename(QTestState *qts);

/* Check the filename of chardev "pkt" */
void chardev_expect_filename(QTestState *qts, const char *expected);

/* Whether chardev "pkt" has a connection */
bool chardev_is_connected(QTestState *qts);

/* Wait until chardev "pkt" has lost its connection */
void chardev_wait_disconnected(QTestState *qts);

/* The counter @name of chardev "pkt" */
uint64_t chardev_stat(QTestState *qts, const char *name);

/* Wait until the counter @name of chardev "pkt" is @value */
void chardev_wait_stat(QTestState *qts, const char *name, uint64_t value);

/* Check that @text contains all of the NULL-terminated @words */
void expect_words(const char *text, const char *const *words);

/* Check that @rsp is a success, and free it */
void qmp_expect_success(QDict *rsp);

/* Check that @rsp is an error that contains @words, and free it */
void qmp_expect_error(QDict *rsp, const char *const *words);

/* --- QEMU, as a process --- */

/* Check that QEMU uses less than @percent of a CPU for a while */
void qemu_expect_cpu_below(QTestState *qts, unsigned percent);

/* Check that QEMU uses almost no CPU time */
void qemu_expect_idle(QTestState *qts);

#endif
