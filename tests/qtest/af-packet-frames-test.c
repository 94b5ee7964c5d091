/*
 * QTest testcase for af-packet-mode: frames as they are on the wire
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Tags, checksums, segmentation offload and lengths.
 * See af-packet-relay.h for the setup.
 */
#include "qemu/osdep.h"
#include "af-packet-payload.h"

#define JUMBO_MTU 9000

/* --- Rigs --- */

typedef struct Rig {
    Relay relay;
    size_t vnet_hdr_len; /* of QEMU's socket, 0 for none */
    int peer;           /* a socket on the other end, with vnet headers */
    Payload in, out;    /* QEMU's input and output */
} Rig;

/* The socket that QEMU gets */
static int open_with_vnet_hdr(size_t vnet_hdr_len)
{
    int fd = packet_open(QEMU_IF, ETH_P_ALL);

    if (vnet_hdr_len) {
        g_assert_true(packet_try_vnet_hdr(fd, vnet_hdr_len));
    }
    return fd;
}

static Rig *rig_new(const char *mode, size_t vnet_hdr_len, uint32_t mtu,
                    const char *netdev)
{
    Rig *r = g_new0(Rig, 1);
    int fd;
    g_autofree char *option = NULL, *args = NULL;

    veth_add(QEMU_IF, TEST_IF);
    link_set_mtu(QEMU_IF, mtu);
    link_set_mtu(TEST_IF, mtu);
    fd = open_with_vnet_hdr(vnet_hdr_len);
    option = chardev_option(fd, mode, NULL);
    args = g_strdup_printf("-netdev %s,id=net0 "
                           "-netdev hubport,id=hub2,hubid=2,netdev=net0 %s",
                           netdev, option);
    relay_start(&r->relay, mode, args);
    close(fd);
    r->relay.netdev = "net0";
    r->relay.vnet_hdr = vnet_hdr_len > 0;
    relay_attach(&r->relay);
    r->peer = packet_endpoint(TEST_IF, ETH_P_ALL);
    g_assert_true(packet_try_vnet_hdr(r->peer, VNET_HDR_LEN));
    r->vnet_hdr_len = vnet_hdr_len;
    r->out.vnet_hdr_len = relay_is_capture(&r->relay) ? vnet_hdr_len :
                                                        VNET_HDR_LEN;
    return r;
}

static void rig_free(Rig *r)
{
    close(r->peer);
    relay_stop(&r->relay);
    g_free(r);
}

/* Change the length of the input's vnet header to @len bytes. */
static void rig_resize_vnet_hdr(Rig *r, size_t len)
{
    Payload *p = &r->in;
    uint8_t *frame = payload_frame(p);

    memmove(p->buf + len, frame, p->len);
    if (len > p->vnet_hdr_len) {
        memset(p->buf + p->vnet_hdr_len, 0, len - p->vnet_hdr_len);
    }
    p->vnet_hdr_len = len;
}

/* --- Each protocol, with each kind of tags --- */

typedef void RigFunc(Rig *r, const Protocol *proto, const Tags *tags);

static void for_each_tags(Rig *r, RigFunc *func, const Protocol *proto)
{
    int t;

    for (t = 0; t < ARRAY_SIZE(all_tags); t++) {
        g_test_message("%s, tags: %s", proto->name, all_tags[t].name);
        func(r, proto, &all_tags[t]);
    }
}

static void for_each_kind(Rig *r, RigFunc *func)
{
    int p;

    for (p = 0; p < ARRAY_SIZE(protocols); p++) {
        for_each_tags(r, func, &protocols[p]);
    }
}

/* Only since Linux 6.2 can a vnet header ask for UDP segmentation. */
static bool has_gso(const Protocol *proto)
{
    g_autofree Payload *p = g_new(Payload, 1);
    int fd = packet_open("lo", 0);
    bool ok;

    g_assert_true(packet_try_vnet_hdr(fd, VNET_HDR_LEN));
    payload_fill(p, proto, &all_tags[0], 2000, 1000);
    ok = send(fd, p->buf, p->vnet_hdr_len + p->len, 0) > 0;
    close(fd);
    return ok;
}

static void for_each_gso_kind(Rig *r, RigFunc *func)
{
    int p;

    for (p = 0; p < ARRAY_SIZE(protocols); p++) {
        if (protocols[p].tcp || has_gso(&protocols[p])) {
            for_each_tags(r, func, &protocols[p]);
        }
    }
}

/* --- Cases: checksums and tags --- */

/* Returns: whether the checksum of the output is partial. */
static bool is_partial(const Payload *p)
{
    return p->vnet_hdr_len &&
           payload_vnet_hdr(p).flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
}

/* A frame passes unchanged, or with a completed checksum. */
static void do_test_checksum(Rig *r, const Protocol *proto, const Tags *tags)
{
    size_t data_len;

    for (data_len = 0; data_len < 4; data_len++) {
        payload_fill(&r->in, proto, tags, data_len, 0);
        payload_send(&r->in, r->peer);
        payload_read(&r->out, &r->relay);
        if (is_partial(&r->out)) {
            expect_same_vnet_hdr(&r->out, &r->in);
        } else {
            payload_complete(&r->in);
        }
        expect_same_frame(&r->out, &r->in);
    }
}

static void test_checksum(const void *opaque)
{
    Rig *r = rig_new("capture", GPOINTER_TO_INT(opaque), 1500, "user");

    for_each_kind(r, do_test_checksum);
    rig_free(r);
}

/* --- Cases: segmentation offload --- */

#define GSO_SIZE 1400

/* The kernel segments longer frames (6.18: gso_max_size of a veth) */
#define GSO_FRAME_MAX 65535

/* Create a super-frame of maximum length. */
static void payload_fill_gso(Payload *p, const Protocol *proto,
                             const Tags *tags, size_t gso_size)
{
    payload_fill(p, proto, tags, GSO_FRAME_MAX - ip_start(tags) -
                 ip_hlen(proto) - l4_hlen(proto), gso_size);
}

typedef struct GsoCase {
    const char *name;
    size_t vnet_hdr_len;
    const char *netdev;
} GsoCase;

/* With vnet headers, a super-frame passes unchanged. */
static void do_test_gso_capture(Rig *r, const Protocol *proto,
                                const Tags *tags)
{
    payload_fill_gso(&r->in, proto, tags, GSO_SIZE);
    payload_send(&r->in, r->peer);
    payload_read(&r->out, &r->relay);
    expect_same_frame(&r->out, &r->in);
    expect_same_vnet_hdr(&r->out, &r->in);
}

static void test_gso_capture(const void *opaque)
{
    const GsoCase *c = opaque;
    Rig *r = rig_new("capture", c->vnet_hdr_len, 1500, c->netdev);

    for_each_gso_kind(r, do_test_gso_capture);
    rig_free(r);
}

/* The kernel may move the VLAN tag of a received frame to its metadata. */
static void expect_same_packet(Rig *r, const Tags *tags)
{
    size_t len = r->in.len - ip_start(tags);

    g_assert_cmpuint(r->out.len, >, len);
    g_assert_cmpmem(payload_frame(&r->out) + r->out.len - len, len,
                    payload_frame(&r->in) + ip_start(tags), len);
    g_assert_cmpint(payload_vnet_hdr(&r->out).gso_type, ==,
                    payload_vnet_hdr(&r->in).gso_type);
    g_assert_cmpint(payload_vnet_hdr(&r->out).gso_size, ==, GSO_SIZE);
}

static void do_test_gso_inject(Rig *r, const Protocol *proto,
                               const Tags *tags)
{
    const uint32_t stated[] = { 0, r->vnet_hdr_len };
    int i;

    payload_fill_gso(&r->in, proto, tags, GSO_SIZE);
    rig_resize_vnet_hdr(r, r->vnet_hdr_len);
    for (i = 0; i < ARRAY_SIZE(stated); i++) {
        payload_write(&r->in, &r->relay, stated[i]);
        payload_recv(&r->out, r->peer);
        expect_same_packet(r, tags);
    }
}

static void test_gso_inject(const void *opaque)
{
    const GsoCase *c = opaque;
    Rig *r = rig_new("inject", c->vnet_hdr_len, 1500, c->netdev);

    for_each_gso_kind(r, do_test_gso_inject);
    rig_free(r);
}

/* Without vnet headers, it is captured as one frame, its checksum complete, */
static void do_test_gso_plain_capture(Rig *r, const Protocol *proto,
                                      const Tags *tags)
{
    uint64_t counted = chardev_stat(r->relay.qts, "gso-frames");

    payload_fill_gso(&r->in, proto, tags, GSO_SIZE);
    payload_send(&r->in, r->peer);
    payload_read(&r->out, &r->relay);
    payload_complete(&r->in);
    expect_same_frame(&r->out, &r->in);
    g_assert_cmpuint(chardev_stat(r->relay.qts, "gso-frames"), ==,
                     counted + 1);
}

static void test_gso_plain_capture(const void *opaque)
{
    Rig *r = rig_new("capture", 0, 1500, "user");

    for_each_gso_kind(r, do_test_gso_plain_capture);
    rig_free(r);
}

/* but is too long to be injected into an interface. */
static void do_test_gso_plain_inject(Rig *r, const Protocol *proto,
                                     const Tags *tags)
{
    QTestState *qts = r->relay.qts;
    uint64_t dropped = chardev_stat(qts, "dropped-above-mtu");

    payload_fill_gso(&r->in, proto, tags, 0);
    rig_resize_vnet_hdr(r, 0);
    payload_write(&r->in, &r->relay, 0);
    chardev_wait_stat(qts, "dropped-above-mtu", dropped + 1);
}

static void test_gso_plain_inject(const void *opaque)
{
    Rig *r = rig_new("inject", 0, 1500, "user");

    for_each_kind(r, do_test_gso_plain_inject);
    relay_check(&r->relay, FEW_FRAMES);
    rig_free(r);
}

/* --- Cases: mismatched vnet headers --- */

#define HAS_ENDED "the connection has ended"

static void expect_ended(Relay *relay, const char *reason)
{
    chardev_wait_disconnected(relay->qts);
    g_assert_cmpuint(relay_count_messages(relay, reason), ==, 1);
    g_assert_cmpuint(relay_count_messages(relay, HAS_ENDED), ==, 1);
}

/* The socket has headers, the records don't. */
static void test_vnet_mismatch_plain(const void *opaque)
{
    Rig *r = rig_new("inject", VNET_HDR_LEN, 1500, "user");

    relay_detach(&r->relay);
    r->relay.vnet_hdr = false;
    relay_attach(&r->relay);
    records_write(r->relay.rec, 0, 1);
    expect_ended(&r->relay, "vnet_hdr_support");
    rig_free(r);
}

/* The readers of records expect headers if there are none, or vice versa. */
static void do_test_vnet_mismatch_capture(bool filters, size_t vnet_hdr_len)
{
    Rig *r = rig_new("capture", vnet_hdr_len, 1500, "user");
    const int64_t end = deadline();
    int tx = packet_endpoint(TEST_IF, 0);

    relay_detach(&r->relay);
    r->relay.vnet_hdr = filters;
    relay_attach(&r->relay);
    frame_send(tx, 1);
    frame_send(tx, 2);
    while (!relay_count_messages(&r->relay, "vnet headers")) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        qemu_expect_prompt(r->relay.qts);
    }
    g_assert_cmpuint(relay_count_messages(&r->relay, "vnet headers"), ==, 1);
    close(tx);
    rig_free(r);
}

static void test_vnet_mismatch_capture(const void *opaque)
{
    do_test_vnet_mismatch_capture(false, VNET_HDR_LEN);
    do_test_vnet_mismatch_capture(true, 0);
}

/* Both have headers, but of different lengths. */
static void test_vnet_mismatch_length(const void *opaque)
{
    static const uint8_t head[] = { 0, 0, 0, 60, 0, 0, 0, 12 };
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_serial(&relay, "inject", open_with_vnet_hdr(VNET_HDR_LEN));
    serial_write(relay.qts, head, sizeof(head));
    expect_ended(&relay, "12 bytes");
    relay_stop(&relay);
}

/* --- Cases: lengths --- */

static const size_t long_lens[] = {
    ETH_HLEN + JUMBO_MTU, ETH_HLEN + MTU_MAX,
};

/* Create a frame of @len bytes, without a vnet header. */
static void fill_len(Rig *r, size_t len)
{
    const Protocol *udp4 = &protocols[0];

    payload_fill(&r->in, udp4, &all_tags[0], len - ETH_HLEN - 28, 0);
    payload_complete(&r->in);
}

/* No frame is truncated. */
static void test_long(const void *mode)
{
    Rig *r = rig_new(mode, 0, MTU_MAX, "user");
    int i;

    for (i = 0; i < ARRAY_SIZE(long_lens); i++) {
        fill_len(r, long_lens[i]);
        if (relay_is_capture(&r->relay)) {
            memset(r->in.buf, 0, VNET_HDR_LEN);
            payload_send(&r->in, r->peer);
            payload_read(&r->out, &r->relay);
        } else {
            rig_resize_vnet_hdr(r, 0);
            payload_write(&r->in, &r->relay, 0);
            payload_recv(&r->out, r->peer);
        }
        g_assert_cmpuint(r->in.len, ==, long_lens[i]);
        expect_same_frame(&r->out, &r->in);
    }
    rig_free(r);
}

/* --- Registration --- */

static const GsoCase gso_cases[] = {
    { "gso/10/user", VNET_HDR_LEN, "user" },
    { "gso/10/hubport", VNET_HDR_LEN, "hubport,hubid=3" },
    { "gso/12/user", VNET_HDR_MAX, "user" },
    { "gso/12/hubport", VNET_HDR_MAX, "hubport,hubid=3" },
};

static void add_vnet_tests(size_t vnet_hdr_len)
{
    g_autofree char *name = g_strdup_printf("%zu", vnet_hdr_len);
    int i;

    add_test("checksum", name, GINT_TO_POINTER(vnet_hdr_len), test_checksum);
    for (i = 0; i < ARRAY_SIZE(gso_cases); i++) {
        const GsoCase *c = &gso_cases[i];

        if (c->vnet_hdr_len == vnet_hdr_len) {
            add_test(c->name, "capture", c, test_gso_capture);
            add_test(c->name, "inject", c, test_gso_inject);
        }
    }
}

static void add_plain_tests(void)
{
    add_test("checksum", "plain", GINT_TO_POINTER(0), test_checksum);
    add_test("gso/plain", "capture", NULL, test_gso_plain_capture);
    add_test("gso/plain", "inject", NULL, test_gso_plain_inject);
    add_test("long", "capture", "capture", test_long);
    add_test("long", "inject", "inject", test_long);
}

/* Linux 6.4 supports headers with lengths other than 10. */
static bool has_vnet_hdr_len(int len)
{
    int fd = packet_open("lo", 0);
    bool ok = packet_try_vnet_hdr(fd, len);

    close(fd);
    return ok;
}

int main(int argc, char **argv)
{
    if (!tests_init(&argc, &argv)) {
        return g_test_run();
    }
    add_plain_tests();
    add_vnet_tests(VNET_HDR_LEN);
    if (has_vnet_hdr_len(VNET_HDR_MAX)) {
        add_vnet_tests(VNET_HDR_MAX);
    }
    add_test("vnet-mismatch", "plain", NULL, test_vnet_mismatch_plain);
    add_test("vnet-mismatch", "capture", NULL, test_vnet_mismatch_capture);
    if (qtest_has_machine("isapc")) {
        add_test("vnet-mismatch", "length", NULL, test_vnet_mismatch_length);
    }
    return g_test_run();
}
