/*
 * Unit tests of the QIOChannel for AF_PACKET: frames that an interface refuses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A frame that is always refused looks like one for which there is no room at
 * the moment, and must not block the others.  Their throughput is compared with
 * a minimal send() loop: after ENOBUFS, it waits until none of its frames is in
 * flight, and tries once more.
 */
#include "qemu/osdep.h"
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include "standard-headers/linux/virtio_net.h"
#include "af-packet-failing-calls.h"
#include "af-packet-layers.h"
#include "channel-af-packet-rig.h"

#define ROUNDS_DEADLINE (20 * G_TIME_SPAN_SECOND)

#define N_FRAMES 1000
#define LONG_FRAME 4000
#define AT_ONCE (64 * KiB) /* bytes per write, like the reads from a socket */
#define ROUNDS 5

/* Create a channel on the existing interface. */
static void connect_injector(Rig *r, size_t vnet_hdr_len)
{
    int fd = packet_open(IFNAME, 0);

    *r = (Rig) { .mode = INJECT, .vnet_hdr_len = vnet_hdr_len };
    if (vnet_hdr_len) {
        packet_set_vnet_hdr(fd);
    }
    rig_connect(r, fd, NULL);
}

/* Write all of @stream, and run the main loop meanwhile. */
static void write_stream(Rig *r, const GByteArray *stream)
{
    size_t at, len;

    for (at = 0; at < stream->len; at += len) {
        len = MIN(stream->len - at, AT_ONCE);
        rig_write(r, stream->data + at, len, len);
        g_main_context_iteration(NULL, false);
    }
}

/* Run the main loop until the channel's queue is empty. */
static void wait_queue_empty(Rig *r)
{
    int64_t end = deadline_in(ROUNDS_DEADLINE);

    while (rig_stats(r).queue_frames) {
        g_assert_true(main_loop_step(end));
    }
}

/*
 * Frames of two lengths, one of which is usually refused
 */

typedef struct Mix {
    const char *name;
    size_t good_len;
    size_t bad_len;
    int every;               /* one in how many frames is bad, or 0 */
    /* Returns: false if the kernel does not support the interface. */
    bool (*add)(const struct Mix *mix);
} Mix;

/* A queue that refuses frames of 600 bytes or more */
static bool add_bfifo(const Mix *mix)
{
    veth_add(IFNAME, PEER);
    return link_add_bfifo(IFNAME, 600) == 0;
}

/* The MTU of the other end is smaller. */
static bool add_peer_mtu(const Mix *mix)
{
    veth_add(IFNAME, PEER);
    link_set_mtu(IFNAME, 9000);
    return true;
}

/* A slow interface, with a burst that is too small for longer frames */
static bool add_tbf(const Mix *mix)
{
    veth_add(IFNAME, PEER);
    return link_add_tbf(IFNAME, 4 * MiB, 600, MiB) == 0;
}

/* The same, with room for few frames */
static bool add_short_tbf(const Mix *mix)
{
    veth_add(IFNAME, PEER);
    return link_add_tbf(IFNAME, 4 * MiB, 600, 1000) == 0;
}

static const Mix mixes[] = {
    { "peer-mtu/half", 200, LONG_FRAME, 2, add_peer_mtu },
    { "peer-mtu/tenth", 200, LONG_FRAME, 10, add_peer_mtu },
    { "peer-mtu/most", 200, LONG_FRAME, N_FRAMES, add_peer_mtu },
    { "bfifo/half", 200, 1000, 2, add_bfifo },
    { "bfifo/tenth", 200, 1000, 10, add_bfifo },
    { "bfifo/all", 200, 1000, 1, add_bfifo },
    { "tbf/half", 200, 1000, 2, add_tbf },
    { "tbf/tenth", 200, 1000, 10, add_tbf },
    { "short-tbf/none", 200, 0, 0, add_short_tbf },
    { "short-tbf/half", 200, 1000, 2, add_short_tbf },
    { "short-tbf/tenth", 200, 1000, 10, add_short_tbf },
};

static bool is_bad(const Mix *mix, int i)
{
    return mix->every && i % mix->every == 0;
}

/* How many frames pass, and how long it takes */
typedef struct Outcome {
    int passed;
    int refused;
    int64_t usec;
} Outcome;

static void wait_until_alone(int fd)
{
    int bytes;

    do {
        g_assert_cmpint(ioctl(fd, SIOCOUTQ, &bytes), ==, 0);
    } while (bytes > 0);
}

/* The reference loop */
static Outcome send_in_loop(const Mix *mix, const uint8_t *frame)
{
    int fd = packet_open(IFNAME, 0), i;
    Outcome o = { .usec = -g_get_monotonic_time() };

    for (i = 0; i < N_FRAMES; i++) {
        size_t len = is_bad(mix, i) ? mix->bad_len : mix->good_len;
        bool sent = send(fd, frame, len, MSG_DONTWAIT) == len;

        if (!sent) {
            g_assert_true(errno == ENOBUFS || errno == EAGAIN);
            wait_until_alone(fd);
            sent = send(fd, frame, len, MSG_DONTWAIT) == len;
        }
        o.passed += sent;
        o.refused += !sent;
    }
    wait_until_alone(fd);
    o.usec += g_get_monotonic_time();
    close(fd);
    return o;
}

static Outcome send_by_channel(const Mix *mix, const uint8_t *frame)
{
    g_autoptr(GByteArray) stream = g_byte_array_new();
    ChardevAfPacketStats stats;
    Outcome o;
    Rig r;
    int i;

    connect_injector(&r, 0);
    for (i = 0; i < N_FRAMES; i++) {
        append_payload(&r, stream, frame,
                   is_bad(mix, i) ? mix->bad_len : mix->good_len);
    }
    o.usec = -g_get_monotonic_time();
    write_stream(&r, stream);
    wait_queue_empty(&r);
    wait_until_alone(r.fd);
    o.usec += g_get_monotonic_time();
    stats = rig_stats(&r);
    o.passed = stats.frames;
    o.refused = stats.dropped_refused;
    g_assert_cmpint(o.passed + o.refused, ==, N_FRAMES);
    rig_disconnect(&r);
    return o;
}

static void test_mix(const void *opaque)
{
    const Mix *mix = opaque;
    const int64_t end = deadline_in(ROUNDS_DEADLINE);
    int64_t best = INT64_MAX, best_loop = INT64_MAX;
    uint8_t frame[LONG_FRAME];
    int i, n_bad = 0;

    for (i = 0; i < N_FRAMES; i++) {
        n_bad += is_bad(mix, i);
    }
    put_frame(frame, sizeof(frame), 0);
    if (!mix->add(mix)) {
        g_test_skip("the kernel has no such queueing discipline");
        link_remove(IFNAME);
        return;
    }
    /* Other processes use the CPU, too: the best round counts. */
    for (i = 0; i < ROUNDS || (best > 2 * best_loop &&
                               g_get_monotonic_time() < end); i++) {
        Outcome loop = send_in_loop(mix, frame);
        Outcome channel = send_by_channel(mix, frame);

        /* Frames that a queue would have accepted later pass. */
        g_assert_cmpint(channel.passed, >=, N_FRAMES - n_bad);
        g_assert_cmpint(channel.passed, >=, loop.passed);
        best = MIN(best, channel.usec);
        best_loop = MIN(best_loop, loop.usec);
    }
    g_test_message("%d of %d frames refused: %" PRId64 " us, the loop %"
                   PRId64 " us", n_bad, N_FRAMES, best, best_loop);
    g_assert_cmpint(best, <=, 2 * best_loop);
    link_remove(IFNAME);
}

/*
 * A queue that was full when it refused a frame may be empty when the channel
 * checks: the frame gets exactly one more attempt, at once.
 */
static void do_test_second_chance(int err, int times)
{
    g_autoptr(GByteArray) stream = g_byte_array_new();
    ChardevAfPacketStats stats;
    uint8_t frame[60];
    Rig r;

    veth_add(IFNAME, PEER);
    connect_injector(&r, 0);
    put_frame(frame, sizeof(frame), 0);
    append_payload(&r, stream, frame, sizeof(frame));
    fail_calls(CALL_SEND, err, times);
    write_stream(&r, stream);
    g_assert_cmpint(count_calls(), ==, 2);
    fail_calls(CALL_NONE, 0, 0);
    stats = rig_stats(&r);
    g_assert_cmpuint(stats.frames, ==, times < 2);
    g_assert_cmpuint(stats.dropped_refused, ==, times == 2);
    g_assert_cmpuint(stats.queue_max_bytes, ==, 0);
    rig_free(&r);
}

static void test_second_chance(void)
{
    int times;

    for (times = 1; times <= 2; times++) {
        do_test_second_chance(ENOBUFS, times);
        do_test_second_chance(ENOMEM, times);
    }
}

/*
 * Super-frames, with and without tunnels
 */

typedef struct GsoCase {
    const char *name;
    Layer layers[LAYERS_MAX];
    uint8_t gso_type;
    bool in_tunnel;
} GsoCase;

#define TCPV4 VIRTIO_NET_HDR_GSO_TCPV4
#define TCPV6 VIRTIO_NET_HDR_GSO_TCPV6
#define UDP_L4 VIRTIO_NET_HDR_GSO_UDP_L4
#define ECN VIRTIO_NET_HDR_GSO_ECN

static const GsoCase gso_cases[] = {
    { "tcp4", { ETH, IP4, L4_TCP }, TCPV4 },
    { "tcp4-ecn", { ETH, IP4, L4_TCP }, TCPV4 | ECN },
    { "tcp4-tag", { ETH, TAG, IP4, L4_TCP }, TCPV4 },
    { "tcp4-options", { ETH, IP4_OPTIONS, L4_TCP }, TCPV4 },
    { "tcp6", { ETH, IP6, L4_TCP }, TCPV6 },
    { "tcp6-options", { ETH, IP6_OPTIONS, L4_TCP }, TCPV6 },
    { "udp4", { ETH, IP4, L4_UDP }, UDP_L4 },
    { "udp6", { ETH, IP6, L4_UDP }, UDP_L4 },
    { "vxlan", { ETH, IP4, L4_UDP, VXLAN, ETH, IP4, L4_TCP }, TCPV4, true },
    { "vxlan-udp", { ETH, IP4, L4_UDP, VXLAN, ETH, IP4, L4_UDP }, UDP_L4,
      true },
    { "vxlan6", { ETH, TAG, IP6, L4_UDP_NONE, VXLAN, ETH, IP6, L4_TCP },
      TCPV6 | ECN, true },
    { "geneve", { ETH, IP4, L4_UDP, GENEVE, ETH, IP4, L4_TCP }, TCPV4, true },
    { "gre", { ETH, IP4, GRE_PLAIN, IP4, L4_TCP }, TCPV4, true },
    { "gretap", { ETH, IP4, GRE_FULL, ETH, IP6, L4_TCP }, TCPV6, true },
    { "ipip", { ETH, IP4, IP4, L4_TCP }, TCPV4, true },
    { "sit", { ETH, IP4, IP6, L4_UDP }, UDP_L4, true },
};

/* A vnet header like the kernel's: it describes the innermost header */
static void put_vnet_hdr(uint8_t *buf, const Frame *f, uint8_t gso_type)
{
    const Header *h = f->headers;
    const struct virtio_net_hdr hdr = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = gso_type,
        .gso_size = 1000,
        .hdr_len = h->start - f->start + (h->proto == TCP ? 20 : 8),
        .csum_start = h->start - f->start,
        .csum_offset = h->field - h->start,
    };

    memcpy(buf, &hdr, sizeof(hdr));
}

/*
 * A frame that a vnet header can't describe is dropped at once.  No interface
 * would accept it, but the kernel reports the same error as for a full queue.
 */
static void test_gso(const void *opaque)
{
    const GsoCase *c = opaque;
    uint8_t buf[10 + 4500];
    g_autoptr(GByteArray) stream = g_byte_array_new();
    ChardevAfPacketStats stats;
    Rig r;
    size_t len;
    bool taken;
    Frame f;

    veth_add(IFNAME, PEER);
    connect_injector(&r, 10);
    frame_build(&f, c->layers, 4000, 0);
    header_put_partial(f.headers);
    put_vnet_hdr(buf, &f, c->gso_type);
    memcpy(buf + 10, f.start, frame_len(&f));
    len = 10 + frame_len(&f);
    taken = send(r.fd, buf, len, 0) == len;
    g_test_message("kernel result: %s", taken ? "sent" : strerror(errno));
    g_assert_true(!taken || !c->in_tunnel);

    append_payload(&r, stream, buf, len);
    write_stream(&r, stream);
    wait_queue_empty(&r);
    stats = rig_stats(&r);
    g_assert_cmpuint(stats.queue_max_bytes, ==, 0);
    g_assert_cmpuint(stats.dropped_tunnel_gso, ==, c->in_tunnel);
    g_assert_cmpuint(stats.frames, ==, taken);
    g_assert_cmpuint(stats.frames + stats.dropped_refused +
                     stats.dropped_tunnel_gso, ==, 1);
    frame_free(&f);
    rig_free(&r);
}

int main(int argc, char **argv)
{
    suite_init(&argc, &argv, "/channel-af-packet");
    SUITE_ADD_TABLE("refused", mixes, test_mix);
    suite_add("refused/second-chance", test_second_chance);
    SUITE_ADD_TABLE("refused/gso", gso_cases, test_gso);
    return g_test_run();
}
