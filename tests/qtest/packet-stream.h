/*
 * QTest helpers: packet streams to and from chardevs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any failure here fails the test.
 */
#ifndef TESTS_QTEST_PACKET_STREAM_H
#define TESTS_QTEST_PACKET_STREAM_H

#include "libqtest.h"

#define DEADLINE_SEC 10             /* for all events that a test waits for */
#define HEAD_LEN sizeof(uint32_t)   /* of a record */

/* Returns: the deadline, in terms of g_get_monotonic_time() */
int64_t deadline(void);

/* --- Sockets --- */

/* Make blocking calls on @fd fail after DEADLINE_SEC */
void fd_set_deadline(int fd);

/* Returns: our end of a pair; QEMU can inherit @theirs */
int pair_create(int *theirs);

/* The same, but with a small buffer for data sent from @theirs */
int small_pair_create(int *theirs);

/* --- QEMU --- */

/* Returns: whether chardev @id has a connection */
bool chardev_connected(QTestState *qts, const char *id);

/* Wait until chardev @id is connected, or disconnected */
void chardev_wait_connected(QTestState *qts, const char *id, bool connected);

/* Pass @fd to QEMU as @name, and close it here */
void qemu_pass_fd(QTestState *qts, const char *name, int fd);

/* Give chardev @id, which has no connection, the socket @fd */
void chardev_connect(QTestState *qts, const char *id, int fd);

/* Returns: how many packets the filter "f0" has dropped */
uint64_t filter_dropped(QTestState *qts);

/* Check that the monitor answers within a second */
void qemu_expect_prompt(QTestState *qts);

/* Returns: how often @what occurs in @text */
unsigned count_in_text(const char *text, const char *what);

/* Returns: how often @what occurs in the file */
unsigned count_in_file(const char *path, const char *what);

/* --- Records --- */

/* Write the record of packet number @seq, of @len bytes, to @record */
void packet_record_fill(uint8_t *record, size_t len, uint32_t seq);

/* Send @n such records from number @first on */
void packet_records_send(int fd, size_t len, uint32_t first, uint32_t n);

/* Receive a whole record.  Returns: its number */
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
