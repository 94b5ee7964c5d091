/*
 * QTest helpers: streams of packets to chardevs and from them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What fails here fails the test.
 */
#ifndef TESTS_QTEST_PACKET_STREAM_H
#define TESTS_QTEST_PACKET_STREAM_H

#include "libqtest.h"

#define DEADLINE_SEC 10             /* for anything that has to happen */
#define HEAD_LEN sizeof(uint32_t)   /* of a record */

/* Returns: until when, as g_get_monotonic_time() tells, it has to have */
int64_t deadline(void);

/* --- Sockets --- */

/* Have blocking calls on @fd fail when nothing happens for too long */
void fd_set_deadline(int fd);

/* Returns: our end of a pair; QEMU can inherit @theirs */
int pair_create(int *theirs);

/* The same, but @theirs holds little of what was sent and not received */
int small_pair_create(int *theirs);

/* --- QEMU --- */

/* Returns: whether chardev @id has a connection */
bool chardev_connected(QTestState *qts, const char *id);

/* Wait until it has, or has not */
void chardev_wait_connected(QTestState *qts, const char *id, bool connected);

/* Pass @fd to QEMU as @name, and close it here */
void qemu_pass_fd(QTestState *qts, const char *name, int fd);

/* Give chardev @id, which has no connection, the socket @fd */
void chardev_connect(QTestState *qts, const char *id, int fd);

/* Returns: how many packets the filter "f0" has dropped */
uint64_t filter_dropped(QTestState *qts);

/* Check that the monitor answers within a second */
void qemu_expect_prompt(QTestState *qts);

/* Returns: how often @what stands in @text */
unsigned count_in_text(const char *text, const char *what);

/* Returns: how often @what stands in the file */
unsigned count_in_file(const char *path, const char *what);

/* --- Records --- */

/* Write the record of packet number @seq, of @len bytes, to @record */
void packet_record_fill(uint8_t *record, size_t len, uint32_t seq);

/* Send @n of them from number @first on */
void packet_records_send(int fd, size_t len, uint32_t first, uint32_t n);

/* Receive a record, which is whole.  Returns: its number */
uint32_t packet_record_receive(int fd, size_t len);

/* --- Registration --- */

typedef struct TestRow {
    const char *name;
    void (*func)(const void *opaque);
} TestRow;

/* Add /@group/NAME/@suffix for each of @n @rows, all with @opaque */
void add_rows(const char *group, const TestRow *rows, size_t n,
              const char *suffix, const void *opaque);

#endif
