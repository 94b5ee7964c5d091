/*
 * Test helpers: socket chardevs with 'af-packet-mode', and without
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any failure here fails the test.
 */
#ifndef TESTS_UNIT_CHAR_SOCKET_AF_PACKET_RIG_H
#define TESTS_UNIT_CHAR_SOCKET_AF_PACKET_RIG_H

#include <linux/if_ether.h>
#include "chardev/char-fe.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-char.h"
#include "af-packet-candidates.h"
#include "af-packet-helpers.h"
#include "af-packet-suite.h"

#define ID "pkt"
#define IFNAME "veth0"
#define PEER "veth1"
#define CAPTURE CHARDEV_SOCKET_AF_PACKET_MODE_CAPTURE
#define INJECT CHARDEV_SOCKET_AF_PACKET_MODE_INJECT

#define NOT_AF_PACKET "'af-packet-mode' requires an AF_PACKET fd"

/* A stream socket; @peer is set to the other one, which is closed if NULL */
int open_unix(int *peer);

/* One whose peer was closed */
int open_lonely_unix(void);

bool fd_is_open(int fd);

int count_yank_instances(void);

/**
 * backend_new:
 * @fd: of its address
 * @mode: the value of 'af-packet-mode', or -1 for none
 * @members: NULL, or JSON: members of ChardevSocket that replace the default
 *           ones; null removes a member
 *
 * Returns: an argument for chardev-add, like that of management software.
 */
ChardevBackend *backend_new(int fd, int mode, const char *members);

/* The same, from JSON alone */
ChardevBackend *backend_from(const char *json);

/* chardev-add of @id with @backend, which is freed; returns: the chardev */
Chardev *add_backend(const char *id, ChardevBackend *backend, Error **errp);

/* chardev-add of ID */
Chardev *add_by_qmp(int fd, int mode, Error **errp);

/* -chardev socket,id=ID,@options; fd=@fd is added unless it is -1 */
Chardev *add_by_options(const char *options, int fd, Error **errp);

/* Check that the chardev has left nothing and its ID can be reused at once. */
void assert_nothing_left(int n_fds);

/* Check that @err is @exact and contains @words, unless NULL, and free it. */
void assert_error(Error *err, const char *exact, const char *const *words);

bool is_connected(Chardev *chr);

void wait_disconnected(Chardev *chr);

/* Write an invalid record, which ends an inject connection. */
void write_nonsense(Chardev *chr);

/* @name: a member of ChardevAfPacketStats */
uint64_t get_stat(Chardev *chr, const char *name);

/* A frontend, and the events that it has received */
typedef struct Frontend {
    CharBackend be;
    int room;                /* what its can_read handler returns */
    int events[CHR_EVENT_CLOSED + 1];
} Frontend;

void frontend_init(Frontend *f, Chardev *chr, int room);

#endif
