/*
 * Unit tests for the socket of a chardev with 'af-packet-mode'
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Its state is restored, it has only one user, and its current name is shown.
 * The sockets are on the loopback interface or on a veth pair, in a network
 * namespace of the tests' own; if this is not possible, they are skipped.
 */
#include "qemu/osdep.h"
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "qapi/qapi-types-char.h"
#include "qemu/sockets.h"
#include "char-socket-af-packet-rig.h"

/*
 * Chardevs
 */

/* Consumes @fd, even on failure. */
static bool add_socket(const char *id, int fd, ChardevSocketAfPacketMode mode,
                       Error **errp)
{
    return add_backend(id, backend_new(fd, mode, NULL), errp);
}

static void remove_chardev(const char *id)
{
    qmp_chardev_remove(id, &error_abort);
}

/*
 * State of a socket
 */

static const struct {
    int level;
    int name;
} options[] = {
    { SOL_SOCKET, SO_RCVBUF }, { SOL_SOCKET, SO_SNDBUF },
    { SOL_SOCKET, SO_BUF_LOCK }, { SOL_SOCKET, SO_LOCK_FILTER },
    { SOL_SOCKET, SO_RCVTIMEO }, { SOL_SOCKET, SO_SNDTIMEO },
    { SOL_SOCKET, SO_TIMESTAMP }, { SOL_SOCKET, SO_MARK },
    { SOL_SOCKET, SO_PRIORITY }, { SOL_SOCKET, SO_BROADCAST },
    { SOL_SOCKET, SO_REUSEADDR }, { SOL_SOCKET, SO_KEEPALIVE },
    { SOL_SOCKET, SO_ZEROCOPY }, { SOL_SOCKET, SO_PASSCRED },
    { SOL_PACKET, PACKET_AUXDATA }, { SOL_PACKET, PACKET_ORIGDEV },
    { SOL_PACKET, PACKET_VNET_HDR }, { SOL_PACKET, PACKET_VNET_HDR_SZ },
    { SOL_PACKET, PACKET_VERSION }, { SOL_PACKET, PACKET_COPY_THRESH },
    { SOL_PACKET, PACKET_RESERVE }, { SOL_PACKET, PACKET_LOSS },
    { SOL_PACKET, PACKET_TIMESTAMP }, { SOL_PACKET, PACKET_FANOUT },
    { SOL_PACKET, PACKET_TX_HAS_OFF }, { SOL_PACKET, PACKET_QDISC_BYPASS },
    { SOL_PACKET, PACKET_IGNORE_OUTGOING },
};

/* Returns: the values of all readable options of @fd */
static char *describe(int fd)
{
    GString *text = g_string_new(NULL);
    struct sockaddr_ll sll = {};
    struct sock_filter filter[16];
    socklen_t len = sizeof(sll), n = ARRAY_SIZE(filter);
    int i;

    g_string_append_printf(text, "flags 0x%x", fcntl(fd, F_GETFL));
    for (i = 0; i < ARRAY_SIZE(options); i++) {
        long value[2] = {};

        len = sizeof(value);
        if (getsockopt(fd, options[i].level, options[i].name, value,
                       &len) == 0) {
            g_string_append_printf(text, ", %d/%d: %ld %ld",
                                   options[i].level, options[i].name,
                                   value[0], value[1]);
        }
    }
    len = sizeof(sll);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&sll, &len), ==, 0);
    g_string_append_printf(text, ", protocol 0x%x", sll.sll_protocol);
    if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, filter, &n) == 0) {
        for (i = 0; i < n; i++) {
            g_string_append_printf(text, ", %x:%x:%x:%x", filter[i].code,
                                   filter[i].jt, filter[i].jf, filter[i].k);
        }
    } else {
        g_string_append_printf(text, ", filter: %s", strerror(errno));
    }
    return g_string_free(text, false);
}

static void attach(int fd, struct sock_filter *filter, int len)
{
    const struct sock_fprog prog = { .len = len, .filter = filter };

    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
                               sizeof(prog)), ==, 0);
}

static void attach_pass_all(int fd)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };

    attach(fd, filter, ARRAY_SIZE(filter));
}

static void attach_reject_all(int fd)
{
    struct sock_filter reject = BPF_STMT(BPF_RET | BPF_K, 0);

    attach(fd, &reject, 1);
}

static void lock_filter(int fd)
{
    socket_set_int(fd, SOL_SOCKET, SO_LOCK_FILTER, 1);
}

/* What the opener does with the socket before passing it */
static void prepare_nothing(int fd)
{
}

static void prepare_nonblock(int fd)
{
    g_assert_true(g_unix_set_fd_nonblocking(fd, true, NULL));
}

static void prepare_auxdata(int fd)
{
    socket_set_int(fd, SOL_PACKET, PACKET_AUXDATA, 1);
}

static void prepare_version(int fd)
{
    socket_set_int(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V3);
    socket_set_int(fd, SOL_PACKET, PACKET_COPY_THRESH, 77);
}

static void prepare_buffers(int fd)
{
    socket_set_int(fd, SOL_SOCKET, SO_RCVBUF, 50000);
    socket_set_int(fd, SOL_SOCKET, SO_SNDBUF, 50000);
}

static void prepare_sndbuf(int fd)
{
    socket_set_int(fd, SOL_SOCKET, SO_SNDBUF, 50000);
}

static void prepare_vnet_hdr_12(int fd)
{
    int size = 12;

    /* Linux 6.4 */
    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR_SZ, &size, sizeof(size));
}

static void prepare_filter_locked(int fd)
{
    attach_pass_all(fd);
    lock_filter(fd);
}

static void prepare_reject_all_locked(int fd)
{
    attach_reject_all(fd);
    lock_filter(fd);
}

/* Returns: false if this system does not permit it. */
static bool attach_ebpf(int fd)
{
    struct bpf_insn insns[] = {
        { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 60 },
        { .code = BPF_JMP | BPF_EXIT },
    };
    union bpf_attr attr = {
        .prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
        .insns = (uintptr_t)insns,
        .insn_cnt = ARRAY_SIZE(insns),
        .license = (uintptr_t)"GPL",
    };
    int prog = syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)), ret;

    if (prog < 0) {
        return false;
    }
    ret = setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &prog, sizeof(prog));
    close(prog);
    return ret == 0;
}

static void prepare_ebpf(int fd)
{
    g_assert_true(attach_ebpf(fd));
}

static bool have_ebpf(void)
{
    int fd = packet_socket(SOCK_RAW);
    bool have = attach_ebpf(fd);

    close(fd);
    return have;
}

typedef struct StateCase {
    const char *name;
    void (*prepare)(int fd);
    uint16_t inject_proto;
    bool capture_only;
} StateCase;

static const StateCase state_cases[] = {
    { "fresh", prepare_nothing, ETH_P_ALL },
    { "nonblock", prepare_nonblock, ETH_P_ALL },
    { "auxdata", prepare_auxdata, ETH_P_ALL },
    { "version", prepare_version, ETH_P_ALL },
    { "buffers", prepare_buffers, ETH_P_ALL },
    { "sndbuf", prepare_sndbuf, ETH_P_ALL },
    { "vnet-hdr", packet_set_vnet_hdr, ETH_P_ALL },
    { "vnet-hdr-12", prepare_vnet_hdr_12, ETH_P_ALL },
    { "filter", attach_pass_all, ETH_P_ALL },
    { "filter-locked", prepare_filter_locked, 0 },
    { "reject-all", attach_reject_all, ETH_P_ALL },
    { "reject-all-locked", prepare_reject_all_locked, ETH_P_ALL },
};

static const StateCase ebpf_case = { "ebpf", prepare_ebpf, 0 };

/* How QEMU stops using the socket */
static void end_by_remove(int fd, int mode)
{
    g_assert_true(add_socket("pkt", dup(fd), mode, &error_abort));
    g_main_context_iteration(NULL, false);
    remove_chardev("pkt");
}

/* The chardev is refused for unrelated reasons */
static void end_by_refusal(int fd, int mode)
{
    Error *err = NULL;

    g_assert_true(add_socket("pkt", packet_open("lo", ETH_P_ALL), mode,
                             &error_abort));
    g_assert_false(add_socket("pkt", dup(fd), mode, &err));
    error_free_or_abort(&err);
    g_assert_cmpint(qemu_chr_add_client(qemu_chr_find("pkt"), fd, &err), ==,
                    -1);
    error_free_or_abort(&err);
    remove_chardev("pkt");
}

/* exit(), for example because a later option is invalid */
static void end_by_exit(int fd, int mode)
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        add_socket("pkt", dup(fd), mode, &error_abort);
        exit(0);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
}

static void test_state(const void *opaque)
{
    static void (*const ends[])(int fd, int mode) = {
        end_by_remove, end_by_refusal, end_by_exit,
    };
    const StateCase *c = opaque;
    int mode, i;

    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        for (i = 0; i < ARRAY_SIZE(ends); i++) {
            int fd = packet_socket(SOCK_RAW);
            g_autofree char *before = NULL, *after = NULL;

            c->prepare(fd);
            packet_bind(fd, "lo", mode == CAPTURE ? ETH_P_ALL :
                                                    c->inject_proto);
            before = describe(fd);
            ends[i](fd, mode);
            after = describe(fd);
            g_assert_cmpstr(after, ==, before);
            close(fd);
        }
    }
}

/* O_NONBLOCK is not set even while in use: duplicates share it. */
static void test_blocking(void)
{
    int mode, fd;

    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        fd = open_good();
        g_assert_true(add_socket("pkt", dup(fd), mode, &error_abort));
        g_assert_cmpint(fcntl(fd, F_GETFL) & O_NONBLOCK, ==, 0);
        remove_chardev("pkt");
        close(fd);
    }
}

/*
 * Filters that QEMU would have to replace, but can't
 */

static void refuse_inject(void (*prepare)(int fd), const char *const *words)
{
    int fd = packet_socket(SOCK_RAW);
    g_autofree char *before = NULL, *after = NULL;
    Error *err = NULL;

    prepare(fd);
    packet_bind(fd, "lo", ETH_P_ALL);
    before = describe(fd);
    g_assert_false(add_socket("pkt", dup(fd), INJECT, &err));
    assert_error(err, NULL, words);
    after = describe(fd);
    g_assert_cmpstr(after, ==, before);
    close(fd);
}

static void test_filter_locked(void)
{
    static const char *const words[WORDS_MAX] = {
        "'af-packet-mode=inject'", "locked", "SO_LOCK_FILTER", "protocol 0",
    };

    refuse_inject(prepare_filter_locked, words);
}

static void test_filter_ebpf(void)
{
    static const char *const words[WORDS_MAX] = {
        "'af-packet-mode=inject'", "filter", "SO_ATTACH_BPF", "protocol 0",
    };

    refuse_inject(prepare_ebpf, words);
}

/*
 * One socket, two chardevs
 */

static void do_test_shared(int first, int second)
{
    static const char *const words[WORDS_MAX] = { "'pkt'", "duplicate",
                                                  "another" };
    int fd = open_good();
    Error *err = NULL;

    g_assert_true(add_socket("pkt", dup(fd), first, &error_abort));
    g_assert_false(add_socket("pkt2", dup(fd), second, &err));
    assert_error(err, NULL, words);

    /* It can be used after the other chardev is removed */
    remove_chardev("pkt");
    g_assert_true(add_socket("pkt2", fd, second, &error_abort));
    remove_chardev("pkt2");
}

static void test_shared(void)
{
    do_test_shared(CAPTURE, INJECT);
    do_test_shared(INJECT, CAPTURE);
    do_test_shared(CAPTURE, CAPTURE);
    do_test_shared(INJECT, INJECT);
}

/* add_client, after an invalid stream has ended the connection */
static void test_shared_add_client(void)
{
    static const char *const words[WORDS_MAX] = { "'cap'", "duplicate" };
    int fd = open_good();
    Chardev *chr;
    Error *err = NULL;

    g_assert_true(add_socket("cap", dup(fd), CAPTURE, &error_abort));
    g_assert_true(add_socket("inj", open_good(), INJECT, &error_abort));
    chr = qemu_chr_find("inj");
    write_nonsense(chr);
    wait_disconnected(chr);
    g_assert_cmpint(qemu_chr_add_client(chr, fd, &err), ==, -1);
    assert_error(err, NULL, words);
    remove_chardev("cap");
    g_assert_cmpint(qemu_chr_add_client(chr, fd, &error_abort), ==, 0);
    remove_chardev("inj");
}

/*
 * Multiplexers
 */

static void test_mux(void)
{
    static const struct {
        const char *backend;
        const char *words[WORDS_MAX];
    } fronts[] = {
        { "{ 'type': 'mux', 'data': { 'chardev': 'pkt' } }",
          { "'pkt'", "'af-packet-mode'", "'mux'" } },
        { "{ 'type': 'hub', 'data': { 'chardevs': [ 'pkt' ] } }",
          { "'pkt'", "'af-packet-mode'", "'hub'" } },
    };
    int i;

    g_assert_true(add_socket("pkt", open_good(), CAPTURE, &error_abort));
    for (i = 0; i < ARRAY_SIZE(fronts); i++) {
        Error *err = NULL;

        g_assert_null(add_backend("front", backend_from(fronts[i].backend),
                                  &err));
        assert_error(err, NULL, fronts[i].words);
    }
    g_assert_null(qemu_chr_find("front"));
    /* It has no frontend */
    remove_chardev("pkt");
}

/*
 * Names
 */

static void assert_shown(const char *expected)
{
    ChardevInfoList *list = qmp_query_chardev(&error_abort);

    g_assert_nonnull(list);
    g_assert_cmpstr(list->value->label, ==, "pkt");
    g_assert_cmpstr(list->value->filename, ==, expected);
    qapi_free_ChardevInfoList(list);
}

/* The interface's current name, not the one at the time of connection */
static void test_rename(void)
{
    g_assert_cmpint(veth_create(IFNAME, PEER), ==, 0);
    g_assert_true(add_socket("pkt", packet_open(IFNAME, ETH_P_ALL), CAPTURE,
                             &error_abort));
    assert_shown("af-packet:" IFNAME ",mode=capture");
    link_rename(IFNAME, "renamed");
    assert_shown("af-packet:renamed,mode=capture");
    remove_chardev("pkt");
    link_remove("renamed");
}

int main(int argc, char **argv)
{
    suite_init(&argc, &argv, "/char-socket-af-packet");
    SUITE_ADD_TABLE("state", state_cases, test_state);
    suite_add("state/blocking", test_blocking);
    suite_add("filter/locked", test_filter_locked);
    /* Needs CAP_BPF where unprivileged programs are not allowed */
    if (suite_has_netns() && have_ebpf()) {
        suite_add_data("state/ebpf", &ebpf_case, test_state);
        suite_add("filter/ebpf", test_filter_ebpf);
    }
    suite_add("shared/add", test_shared);
    suite_add("shared/add-client", test_shared_add_client);
    suite_add("mux/qmp", test_mux);
    suite_add("name/renamed", test_rename);
    return g_test_run();
}
