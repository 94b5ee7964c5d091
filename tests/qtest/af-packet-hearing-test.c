/*
 * QTest testcase for af-packet-mode: which frames a socket receives
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See af-packet-relay.h for the setup.
 */
#include "qemu/osdep.h"
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "af-packet-relay.h"

/* --- Sockets --- */

/* SO_MARK of a socket whose frames HEAR_UNMARKED ignores */
#define TEST_MARK 0xaf

/* Which frames on its interface a socket receives */
typedef enum PacketHearing {
    HEAR_BOTH,
    HEAR_INCOMING,      /* by a filter */
    HEAR_OUTGOING,      /* by a filter */
    HEAR_BUT_OUTGOING,  /* by PACKET_IGNORE_OUTGOING */
    HEAR_UNMARKED,      /* by a filter: frames without TEST_MARK */
} PacketHearing;

/*
 * Accept only frames whose metadata word (or byte) at @offset is @value, or if
 * @pass is false, only all other frames.
 */
static void packet_filter(int fd, int offset, uint32_t value, bool pass)
{
    uint16_t size = offset == SKF_AD_PKTTYPE ? BPF_B : BPF_W;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | size | BPF_ABS, SKF_AD_OFF + offset),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, !pass, pass),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog prog = { .len = ARRAY_SIZE(filter), .filter = filter };

    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
                               sizeof(prog)), ==, 0);
}

/* Returns: an unbound packet socket, opened as recommended. */
static int packet_socket_hearing(PacketHearing hearing)
{
    int fd = packet_socket(SOCK_RAW);

    switch (hearing) {
    case HEAR_BOTH:
        break;
    case HEAR_INCOMING:
    case HEAR_OUTGOING:
        packet_filter(fd, SKF_AD_PKTTYPE, PACKET_OUTGOING,
                      hearing == HEAR_OUTGOING);
        break;
    case HEAR_BUT_OUTGOING:
        socket_set_int(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
        break;
    case HEAR_UNMARKED:
        packet_filter(fd, SKF_AD_MARK, TEST_MARK, false);
        break;
    }
    return fd;
}

/* --- Cases: direction --- */

typedef struct DirectionCase {
    const char *name;
    PacketHearing hearing;
    bool in, out;           /* which directions are received */
} DirectionCase;

static const DirectionCase direction_cases[] = {
    { "both", HEAR_BOTH, true, true },
    { "incoming", HEAR_INCOMING, true, false },
    { "outgoing", HEAR_OUTGOING, false, true },
    { "ignore-outgoing", HEAR_BUT_OUTGOING, true, false },
};

/*
 * A capture socket receives the frames that its opener has selected, and none
 * from other interfaces or from before bind(), even if some time passes between
 * socket() and bind().
 */
static void test_direction(const void *opaque)
{
    const DirectionCase *c = opaque;
    int in, out, other, fd;
    Relay relay;
    int i;

    veth_add(QEMU_IF, TEST_IF);
    veth_add("veth2", "veth3");
    in = packet_endpoint(TEST_IF, 0);
    out = packet_endpoint(QEMU_IF, 0);
    other = packet_endpoint("veth3", 0);

    fd = packet_socket_hearing(c->hearing);
    for (i = 0; i < FEW_FRAMES; i++) {
        frame_send(in, UINT32_MAX);
        frame_send(out, UINT32_MAX);
        frame_send(other, UINT32_MAX);
    }
    packet_bind(fd, QEMU_IF, ETH_P_ALL);

    relay_start_inherited(&relay, "capture", fd);
    relay_attach(&relay);
    for (i = 0; i < FEW_FRAMES; i++) {
        frame_send(other, UINT32_MAX);
        frame_send(in, 2 * i);
        frame_send(out, 2 * i + 1);
        if (c->in) {
            record_expect(record_read_socket, &relay.rec, 2 * i);
        }
        if (c->out) {
            record_expect(record_read_socket, &relay.rec, 2 * i + 1);
        }
    }
    g_assert_cmpuint(chardev_stat(relay.qts, "frames"), ==,
                     FEW_FRAMES * (c->in + c->out));
    close(in);
    close(out);
    close(other);
    relay_stop(&relay);
    link_remove("veth2");
}

/* --- Cases: loops --- */

static const PacketHearing no_loop_cases[] = {
    HEAR_INCOMING, HEAR_BUT_OUTGOING, HEAR_UNMARKED,
};

/*
 * QEMU captures and injects on the same interface: each frame is sent back
 * once, because injected frames are not captured.
 */
static void test_no_loop(const void *opaque)
{
    int capture = packet_socket_hearing(GPOINTER_TO_INT(opaque));
    int inject, peer, i;
    g_autofree char *args = NULL;
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    packet_bind(capture, QEMU_IF, ETH_P_ALL);
    inject = packet_open(QEMU_IF, 0);
    socket_set_int(inject, SOL_SOCKET, SO_MARK, TEST_MARK);
    fd_set_inherited(capture);
    fd_set_inherited(inject);
    args = g_strdup_printf(
        "-chardev socket,id=pkt,fd=%d,af-packet-mode=capture "
        "-chardev socket,id=inj,fd=%d,af-packet-mode=inject "
        "-object filter-redirector,id=in,netdev=hub0,queue=tx,indev=pkt "
        "-object filter-redirector,id=out,netdev=hub0,queue=tx,outdev=inj",
        capture, inject);
    relay_start(&relay, "capture", args);
    close(capture);
    close(inject);

    peer = packet_endpoint(TEST_IF, TEST_ETHERTYPE);
    for (i = 0; i < FEW_FRAMES; i++) {
        frame_send(peer, i);
        frame_expect(peer, i);
    }
    g_assert_cmpuint(chardev_stat(relay.qts, "frames"), ==, FEW_FRAMES);
    close(peer);
    relay_stop(&relay);
}

int main(int argc, char **argv)
{
    int i;

    if (!tests_init(&argc, &argv)) {
        return g_test_run();
    }
    ADD_TESTS("direction", direction_cases, test_direction);
    for (i = 0; i < ARRAY_SIZE(no_loop_cases); i++) {
        g_autofree char *name = g_strdup_printf("%d", i);

        add_test("no-loop", name, GINT_TO_POINTER(no_loop_cases[i]),
                 test_no_loop);
    }
    return g_test_run();
}
