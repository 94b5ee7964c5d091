/*
 * QTest helpers: a QEMU with a packet-relay between two chardevs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test side      | qemu side
 *                |
 * +---------+    |  +--------+    +-------+    +---------+
 * | records +------->   in   +----> relay +---->   out   |
 * +---------+    |  +--------+    +-------+    +----+----+
 *                |                                  |
 * +---------+    |                                  |
 * | records <---------------------------------------+
 * +---------+    |
 *
 * Any failure here fails the test.
 */
#ifndef TESTS_QTEST_PACKET_RELAY_RIG_H
#define TESTS_QTEST_PACKET_RELAY_RIG_H

#include "packet-stream.h"

/* More than the smallest socket buffer holds, so that some are split */
#define PACKET_LEN 20000
#define RECORD_LEN (HEAD_LEN + PACKET_LEN)
#define FEW_RECORDS 20
/* Less than a socket's buffer holds, but more than the smallest does */
#define STALL_RECORDS 5
/* More than the buffers of two sockets and the relay may hold */
#define HELD_MAX (4 * 1024 * 1024)

typedef struct Rig {
    QTestState *qts;
    bool iothread;
    int in;     /* our end of "in" */
    int out;    /* our end of "out" */
    char *err;  /* the file that QEMU writes its messages to */
} Rig;

/* Returns: a socket that listens at @path */
int listener_create(const char *path);

/* Returns: the next connection to @listener */
int listener_accept(int listener);

/* Write record number @seq, of RECORD_LEN bytes */
void record_fill(uint8_t *record, uint32_t seq);

/* Returns: @n records, to be freed with g_free() */
uint8_t *stream_create(uint32_t n);

/* Send all of @len bytes */
void send_bytes(int fd, const void *buf, size_t len);

/* Send @n records from number @first on */
void send_records(int fd, uint32_t first, uint32_t n);

/* Check that the next record is exactly number @seq */
void expect_record(int fd, uint32_t seq);

/* Check that the next @n records are those from number @first on */
void expect_records(int fd, uint32_t first, uint32_t n);

/* Check that record number @seq passes the relay */
void expect_pass(Rig *r, uint32_t seq);

/* Add the relay, with QMP */
void object_add(Rig *r);

/* Delete the relay */
void object_del(Rig *r);

/*
 * Start QEMU with a relay, which runs in an iothread if @iothread is set.
 * @in, @out: options of the chardevs; @more: more options of the relay
 */
void rig_start(Rig *r, const void *iothread, const char *in,
               const char *out, const char *more);

/* The same, with socket pairs for chardevs */
void rig_init_more(Rig *r, const void *iothread, const char *more);

/* The same, with no more options */
void rig_init(Rig *r, const void *iothread);

/* End QEMU */
void rig_stop(Rig *r);

/* End QEMU, unless it has ended, and free everything */
void rig_free(Rig *r);

/* Returns: how often QEMU has written @text to its standard error */
unsigned count_messages(Rig *r, const char *text);

/* Returns: a counter of the relay */
uint64_t get_stat(Rig *r, const char *name);

/* Wait until a counter of the relay is @at_least this value */
void wait_stat(Rig *r, const char *name, uint64_t at_least);

/* Wait until the relay's queue is empty */
void wait_nothing_waits(Rig *r);

/*
 * End the connection of chardev @id, of which our end is @old, or -1 if that is
 * closed, and give it a new one.  Returns: our end
 */
int reconnect(Rig *r, const char *id, int old);

/*
 * Send until there is permanently no room, as nobody reads.
 * Returns: the number of bytes sent, less than @max
 */
size_t stall(Rig *r, const uint8_t *stream, size_t max);

/* Add /@group/NAME/WHERE for each of @n @rows: in the main loop, an iothread */
void add_relay_rows(const char *group, const TestRow *rows, size_t n);

#endif
