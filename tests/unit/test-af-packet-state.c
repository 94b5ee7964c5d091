/*
 * Unit tests for saving and restoring the state of an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * They use real packet sockets, on the loopback interface in a network
 * namespace of their own; if this is not possible, they are skipped.
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "chardev/af-packet-state.h"
#include "qemu/sockets.h"
#include "af-packet-candidates.h"
#include "af-packet-helpers.h"
#include "af-packet-suite.h"

/*
 * Options
 */

/* Returns: false if the option can't be read. */
static bool get_int(int fd, int level, int name, int *value)
{
    socklen_t len = sizeof(*value);

    return getsockopt(fd, level, name, value, &len) == 0;
}

static void assert_int(int fd, int level, int name, int expected)
{
    int value;

    if (get_int(fd, level, name, &value)) {
        g_assert_cmpint(value, ==, expected);
    }
}

typedef struct Option {
    const char *name;
    int option;
    int values[3]; /* values that the opener or QEMU may set */
} Option;

static const Option options[] = {
    { "auxdata", PACKET_AUXDATA, { 0, 1, 1 } },
    { "version", PACKET_VERSION, { TPACKET_V1, TPACKET_V2, TPACKET_V3 } },
    { "copy-thresh", PACKET_COPY_THRESH, { 0, 1, 1000 } }, /* readable: 6.8 */
};

static void do_test_option(const Option *o, int before, int during)
{
    int fd = open_good();
    AfPacketState *state;

    socket_set_int(fd, SOL_PACKET, o->option, before);
    state = af_packet_state_new(fd, "test");
    g_assert_cmpint(af_packet_state_fd(state), ==, fd);
    g_assert_cmpint(af_packet_state_set(state, SOL_PACKET, o->option,
                                        during), ==, 0);
    assert_int(fd, SOL_PACKET, o->option, during);
    /* Changed twice */
    g_assert_cmpint(af_packet_state_set(state, SOL_PACKET, o->option,
                                        o->values[0]), ==, 0);
    assert_int(fd, SOL_PACKET, o->option, o->values[0]);
    af_packet_state_free(state);
    assert_int(fd, SOL_PACKET, o->option, before);
    close(fd);
}

static void test_option(const void *opaque)
{
    const Option *o = opaque;
    int before, during;

    for (before = 0; before < 3; before++) {
        for (during = 0; during < 3; during++) {
            do_test_option(o, o->values[before], o->values[during]);
        }
    }
}

/* Failures are reported, and the option is not restored. */
static void test_refused(void)
{
    int fd = open_rx_ring();
    AfPacketState *state = af_packet_state_new(fd, "test");

    g_assert_cmpint(af_packet_state_set(state, SOL_PACKET, PACKET_VERSION,
                                        TPACKET_V2), ==, -EBUSY);
    g_assert_cmpint(af_packet_state_set(state, SOL_SOCKET, -1, 0), ==,
                    -ENOPROTOOPT);
    af_packet_state_free(state);
    assert_int(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V1);
    close(fd);
}

/*
 * Buffers: their length, and whether it was set (SO_BUF_LOCK)
 */

static void do_test_buffer(int name, int other, int opener, int bytes)
{
    int fd = open_good(), before, lock = -1, now;
    AfPacketState *state;

    /* The other buffer's state does not matter */
    socket_set_int(fd, SOL_SOCKET, other, 10000);
    if (opener) {
        socket_set_int(fd, SOL_SOCKET, name, opener);
    }
    g_assert_true(get_int(fd, SOL_SOCKET, name, &before));
    get_int(fd, SOL_SOCKET, SO_BUF_LOCK, &lock);

    state = af_packet_state_new(fd, "test");
    g_assert_cmpint(af_packet_state_set_buf(state, name, bytes), ==, 0);
    assert_int(fd, SOL_SOCKET, name, bytes);
    af_packet_state_free(state);
    assert_int(fd, SOL_SOCKET, name, before);
    assert_int(fd, SOL_SOCKET, other, 20000);
    if (get_int(fd, SOL_SOCKET, SO_BUF_LOCK, &now)) {
        g_assert_cmpint(now, ==, lock);
    }
    close(fd);
}

static void test_buffers(void)
{
    static const int opener[] = { 0, 5000, 70000 };
    int i;

    for (i = 0; i < ARRAY_SIZE(opener); i++) {
        do_test_buffer(SO_RCVBUF, SO_SNDBUF, opener[i], 100000);
        do_test_buffer(SO_RCVBUF, SO_SNDBUF, opener[i], 20000);
        do_test_buffer(SO_SNDBUF, SO_RCVBUF, opener[i], 100000);
        do_test_buffer(SO_SNDBUF, SO_RCVBUF, opener[i], 20000);
    }
}

/*
 * The filter
 */

static struct sock_filter nothing[] = {
    BPF_STMT(BPF_RET | BPF_K, 0),
};

/* The opener's filter: TEST_ETHERTYPE, truncated to 60 bytes */
static struct sock_filter something[] = {
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TEST_ETHERTYPE, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 60),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

static const struct sock_fprog reject = { ARRAY_SIZE(nothing), nothing };
static const struct sock_fprog opener = { ARRAY_SIZE(something), something };

static void attach(int fd, const struct sock_fprog *prog)
{
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, prog,
                               sizeof(*prog)), ==, 0);
}

/* @prog: the expected filter, NULL for none */
static void assert_filter(int fd, const struct sock_fprog *prog)
{
    struct sock_filter got[16];
    socklen_t n = ARRAY_SIZE(got);

    g_assert_cmpint(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, got, &n),
                    ==, 0);
    g_assert_cmpuint(n, ==, prog ? prog->len : 0);
    if (prog) {
        g_assert_cmpmem(got, n * sizeof(*got), prog->filter,
                        prog->len * sizeof(*got));
    }
}

static void do_test_filter(const struct sock_fprog *before, int changes)
{
    int fd = open_good();
    AfPacketState *state;

    if (before) {
        attach(fd, before);
    }
    state = af_packet_state_new(fd, "test");
    while (changes--) {
        g_assert_cmpint(af_packet_state_set_filter(state, &reject), ==, 0);
        assert_filter(fd, &reject);
    }
    af_packet_state_free(state);
    assert_filter(fd, before);
    close(fd);
}

static void test_filter(void)
{
    int changes;

    for (changes = 0; changes < 3; changes++) {
        do_test_filter(NULL, changes);
        do_test_filter(&opener, changes);
    }
}

static void test_filter_locked(void)
{
    int fd = open_good();
    AfPacketState *state;

    attach(fd, &opener);
    socket_set_int(fd, SOL_SOCKET, SO_LOCK_FILTER, 1);
    state = af_packet_state_new(fd, "test");
    g_assert_cmpint(af_packet_state_set_filter(state, &reject), ==, -EPERM);
    af_packet_state_free(state);
    assert_filter(fd, &opener);
    close(fd);
}

/*
 * Users
 */

static void assert_user(int fd, const char *expected)
{
    g_autofree char *user = af_packet_state_user(fd);

    g_assert_cmpstr(user, ==, expected);
}

static void test_user(void)
{
    int a = open_good(), b = open_good(), duplicate = dup(a);
    AfPacketState *state_a, *state_b;

    assert_user(a, NULL);
    state_a = af_packet_state_new(a, "a");
    assert_user(a, "a");
    assert_user(duplicate, "a");
    assert_user(b, NULL);
    state_b = af_packet_state_new(b, "b");
    assert_user(a, "a");
    assert_user(b, "b");
    af_packet_state_free(state_a);
    assert_user(duplicate, NULL);
    assert_user(b, "b");
    af_packet_state_free(state_b);
    assert_user(b, NULL);
    close(a);
    close(b);
    close(duplicate);
}

int main(int argc, char **argv)
{
    int i;

    suite_init(&argc, &argv, "/af-packet/state");
    for (i = 0; i < ARRAY_SIZE(options); i++) {
        suite_add_data(options[i].name, &options[i], test_option);
    }
    suite_add("refused", test_refused);
    suite_add("buffers", test_buffers);
    suite_add("filter", test_filter);
    suite_add("filter-locked", test_filter_locked);
    suite_add("user", test_user);
    return g_test_run();
}
