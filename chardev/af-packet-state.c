/*
 * Saving and restoring the original state of an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/queue.h"
#include "qemu/sockets.h"
#include "af-packet-state.h"

/* Linux 5.14 */
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif

/* A changed option */
typedef struct Change {
    QSLIST_ENTRY(Change) next;
    int level;
    int name;
    int value; /* for setsockopt(), to restore it */
} Change;

struct AfPacketState {
    QLIST_ENTRY(AfPacketState) next;
    int fd;
    uint64_t cookie;
    char *user;
    QSLIST_HEAD(, Change) changes; /* most recent first */
    bool filter_changed;
    struct sock_fprog filter;      /* original; empty if there was none */
};

/* All sockets in use, by any thread */
static QLIST_HEAD(, AfPacketState) states;
static QemuMutex states_lock;

static void __attribute__((__constructor__)) states_init(void)
{
    qemu_mutex_init(&states_lock);
}

/* Returns: the host-wide unique ID of a socket; 0 if unknown. */
static uint64_t get_cookie(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof(cookie);

    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len);
    return cookie;
}

AfPacketState *af_packet_state_new(int fd, const char *user)
{
    AfPacketState *state = g_new0(AfPacketState, 1);

    state->fd = fd;
    state->cookie = get_cookie(fd);
    state->user = g_strdup(user);
    QSLIST_INIT(&state->changes);
    QEMU_LOCK_GUARD(&states_lock);
    QLIST_INSERT_HEAD(&states, state, next);
    return state;
}

int af_packet_state_fd(const AfPacketState *state)
{
    return state->fd;
}

char *af_packet_state_user(int fd)
{
    uint64_t cookie = get_cookie(fd);
    AfPacketState *state;

    QEMU_LOCK_GUARD(&states_lock);
    QLIST_FOREACH(state, &states, next) {
        if (cookie && state->cookie == cookie) {
            return g_strdup(state->user);
        }
    }
    return NULL;
}

/*
 * Options
 */

static void remember(AfPacketState *state, int level, int name, int value)
{
    Change *change = g_new(Change, 1);

    *change = (Change) { .level = level, .name = name, .value = value };
    QSLIST_INSERT_HEAD(&state->changes, change, next);
}

/* The kernel doubles the size of a buffer to account for its overhead. */
static int setting(int level, int name, int value)
{
    bool is_buf = level == SOL_SOCKET &&
                  (name == SO_RCVBUF || name == SO_SNDBUF);

    return is_buf ? value / 2 : value;
}

static int get_setting(int fd, int level, int name)
{
    int value = 0;
    socklen_t len = sizeof(value);

    if (getsockopt(fd, level, name, &value, &len) < 0) {
        return 0;
    }
    return setting(level, name, value);
}

int af_packet_state_set(AfPacketState *state, int level, int name, int value)
{
    int before = get_setting(state->fd, level, name);

    if (setsockopt(state->fd, level, name, &value, sizeof(value)) < 0) {
        return -errno;
    }
    remember(state, level, name, before);
    return 0;
}

int af_packet_state_set_buf(AfPacketState *state, int name, int bytes)
{
    /* The kernel also keeps whether the size was set explicitly */
    remember(state, SOL_SOCKET, SO_BUF_LOCK,
             get_setting(state->fd, SOL_SOCKET, SO_BUF_LOCK));
    return af_packet_state_set(state, SOL_SOCKET, name,
                               setting(SOL_SOCKET, name, bytes));
}

static void options_restore(AfPacketState *state)
{
    Change *change;

    while ((change = QSLIST_FIRST(&state->changes))) {
        QSLIST_REMOVE_HEAD(&state->changes, next);
        setsockopt(state->fd, change->level, change->name,
                   &change->value, sizeof(change->value));
        g_free(change);
    }
}

/*
 * The filter
 */

/* Returns: 0, or a negative errno. */
static int filter_save(AfPacketState *state)
{
    struct sock_fprog *filter = &state->filter;
    socklen_t n = 0;

    /* Without a buffer, the kernel returns the number of instructions */
    if (getsockopt(state->fd, SOL_SOCKET, SO_GET_FILTER, NULL, &n) < 0) {
        return -errno;
    }
    if (n > 0) {
        filter->filter = g_new(struct sock_filter, n);
        if (getsockopt(state->fd, SOL_SOCKET, SO_GET_FILTER,
                       filter->filter, &n) < 0) {
            return -errno;
        }
    }
    filter->len = n;
    return 0;
}

static int filter_attach(int fd, const struct sock_fprog *prog)
{
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER,
                      prog, sizeof(*prog)) < 0 ? -errno : 0;
}

int af_packet_state_set_filter(AfPacketState *state,
                               const struct sock_fprog *prog)
{
    int ret = state->filter_changed ? 0 : filter_save(state);

    if (ret == 0) {
        ret = filter_attach(state->fd, prog);
    }
    if (ret == 0) {
        state->filter_changed = true;
    } else if (!state->filter_changed) {
        g_clear_pointer(&state->filter.filter, g_free);
    }
    return ret;
}

static void filter_restore(AfPacketState *state)
{
    int unused = 0;

    if (!state->filter_changed) {
        return;
    }
    if (state->filter.len) {
        filter_attach(state->fd, &state->filter);
    } else {
        setsockopt(state->fd, SOL_SOCKET, SO_DETACH_FILTER,
                   &unused, sizeof(unused));
    }
    g_free(state->filter.filter);
}

void af_packet_state_free(AfPacketState *state)
{
    filter_restore(state);
    options_restore(state);
    WITH_QEMU_LOCK_GUARD(&states_lock) {
        QLIST_REMOVE(state, next);
    }
    g_free(state->user);
    g_free(state);
}
