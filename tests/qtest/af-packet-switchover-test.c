/*
 * QTest testcase for frames that reach the source during a live migration
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two QEMUs with a virtio NIC on a tap each, in a network namespace of the
 * test's own.  The test is the network: it sends numbered frames to the taps.
 * It is the guest: a driver of libqos, which sees in guest memory what the NIC
 * has received, in the one QEMU and then in the other.  And it is the
 * management software, which does what docs/system/af-packet-switchover.rst
 * tells it to.
 *
 *                source                             destination
 *
 *  frames   +------+   +-----------+          +-----------+   +------+
 * ----+-----> tap0 +---> virtio NIC|  ......  |virtio NIC <---+ tap1 |
 *     |     +------+   +-----------+ migration+-----------+   +--^---+
 *     |                                                          |
 *     |     +---------+  +--------+           +--------+  +------+--+
 *     +-----> capture +--> stream +-----------> stream +--> inject  |
 *           +---------+  +--------+           +--------+  +---------+
 */

#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "../unit/af-packet-helpers.h"
#include "libqos/libqos-pc.h"
#include "libqos/virtio-pci.h"
#include "libqtest.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qobject/qdict.h"

#define SOURCE_TAP "tap0"
#define DESTINATION_TAP "tap1"

#define NIC_SLOT 4
#define VNET_HDR_LEN 10             /* of a legacy virtio NIC */
#define BUFFER_LEN 2048
#define FRAME_LEN 60

/*
 * Frames that QEMU may have taken from the tap, and the guest not got, when
 * the guest stops: one waits for room in the guest, one was read ahead.
 */
#define TAKEN_AHEAD 2

#define QUEUE_BYTES (128 * KiB)     /* room for all frames; no privilege */

#define IN_TAP_BEFORE 8             /* frames before the capture began */

#define DEADLINE_US (30 * G_USEC_PER_SEC)

/* --- A VM --- */

typedef struct Vm {
    QOSState *qs;
    QTestState *qts;
} Vm;

static void vm_start(Vm *vm, const char *tap, const char *more)
{
    int fd = tap_create(tap, false);

    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    vm->qs = qtest_pc_boot("-M pc -m 16 -nodefaults "
                           "-netdev tap,id=guest,fd=%d "
                           "-device virtio-net-pci,netdev=guest,addr=%d,"
                           "disable-modern=on,romfile= "
                           "-netdev hubport,id=h0,hubid=0 "
                           "-netdev hubport,id=h1,hubid=1,netdev=h0 %s",
                           fd, NIC_SLOT, more);
    vm->qts = vm->qs->qts;
    close(fd);
    link_set_up(tap, true);
}

/* --- The guest --- */

typedef struct Guest {
    QVirtioPCIDevice *dev;
    QVirtQueue *rx;
    uint64_t buffers;
    uint32_t n_buffers;             /* made available to the NIC */
    uint32_t next;                  /* number of the frame expected next */
} Guest;

/* Let the NIC have @count more buffers; without a kick it may not notice */
static void guest_add_buffers(Guest *guest, Vm *vm, uint32_t count)
{
    uint32_t i, head;
    uint16_t idx;

    for (i = 0; i < count; i++) {
        head = qvirtqueue_add(vm->qts, guest->rx, guest->buffers +
                              guest->n_buffers++ * BUFFER_LEN, BUFFER_LEN,
                              true, false);
        idx = qtest_readw(vm->qts, guest->rx->avail + 2);
        qtest_writew(vm->qts, guest->rx->avail + 4 +
                     2 * (idx % guest->rx->size), head);
        qtest_writew(vm->qts, guest->rx->avail + 2, idx + 1);
    }
}

/* Tell the source's NIC that it has buffers */
static void guest_kick(Guest *guest)
{
    guest->dev->vdev.bus->virtqueue_kick(&guest->dev->vdev, guest->rx);
}

/* Start the driver */
static void guest_start(Guest *guest, Vm *vm)
{
    QPCIAddress addr = { .devfn = QPCI_DEVFN(NIC_SLOT, 0) };
    QVirtioDevice *vdev;

    *guest = (Guest) {
        .dev = virtio_pci_new(vm->qs->pcibus, &addr),
    };
    vdev = &guest->dev->vdev;
    qvirtio_pci_device_enable(guest->dev);
    qvirtio_start_device(vdev);
    qvirtio_set_features(vdev, 0);
    guest->rx = qvirtqueue_setup(vdev, &vm->qs->alloc, 0);
    guest->buffers = guest_alloc(&vm->qs->alloc,
                                 guest->rx->size * BUFFER_LEN);
    qvirtio_set_driver_ok(vdev);
}

/*
 * Take a frame from the NIC that guest memory is in now.
 *
 * Returns: its number, or -1 if there is none.
 */
static int64_t guest_take(Guest *guest, Vm *vm)
{
    uint8_t buf[VNET_HDR_LEN + FRAME_LEN], *frame = buf + VNET_HDR_LEN;
    uint32_t desc;

    while (qvirtqueue_get_buf(vm->qts, guest->rx, &desc, NULL)) {
        qtest_memread(vm->qts, guest->buffers + desc * BUFFER_LEN, buf,
                      sizeof(buf));
        if (lduw_be_p(frame + 2 * ETH_ALEN) == TEST_ETHERTYPE) {
            return ldl_be_p(frame + ETH_HLEN);
        }
    }
    return -1;
}

/* Take a frame that has to come */
static uint32_t guest_wait(Guest *guest, Vm *vm)
{
    const int64_t end = g_get_monotonic_time() + DEADLINE_US;
    int64_t number;

    while ((number = guest_take(guest, vm)) < 0) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    return number;
}

/* The next frames that the guest gets have to be those up to @end */
static void guest_expect(Guest *guest, Vm *vm, uint32_t end)
{
    while (guest->next < end) {
        g_assert_cmpuint(guest_wait(guest, vm), ==, guest->next);
        guest->next++;
    }
}

/* What the guest has got already has to be in order, too */
static void guest_expect_present(Guest *guest, Vm *vm)
{
    int64_t number;

    while ((number = guest_take(guest, vm)) >= 0) {
        g_assert_cmpuint(number, ==, guest->next);
        guest->next++;
    }
}

static void guest_expect_nothing(Guest *guest, Vm *vm)
{
    g_assert_cmpint(guest_take(guest, vm), ==, -1);
}

static void guest_end(Guest *guest, Vm *vm)
{
    qvirtqueue_cleanup(guest->dev->vdev.bus, guest->rx, &vm->qs->alloc);
    qvirtio_pci_device_disable(guest->dev);
    g_free(guest->dev->pdev);
    g_free(guest->dev);
}

/* --- The network --- */

/* Send the frames numbered from @first up to @end out of @tap */
static void network_send(const char *tap, uint32_t first, uint32_t end)
{
    uint8_t frame[FRAME_LEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2 };
    int fd = packet_endpoint(tap, 0);

    stw_be_p(frame + 2 * ETH_ALEN, TEST_ETHERTYPE);
    for (; first < end; first++) {
        stl_be_p(frame + ETH_HLEN, first);
        g_assert_cmpint(send(fd, frame, sizeof(frame), 0), ==, sizeof(frame));
    }
    close(fd);
}

/* The number of frames that were taken from the tap */
static unsigned long tap_taken(const char *tap)
{
    g_autofree char *text = NULL;
    g_autofree char *name = g_strdup_printf("%s:", tap);
    unsigned long packets;

    g_assert_true(g_file_get_contents("/proc/self/net/dev", &text, NULL,
                                      NULL));
    g_assert_cmpint(sscanf(strstr(text, name) + strlen(name),
                           "%*u %*u %*u %*u %*u %*u %*u %*u %*u %lu",
                           &packets), ==, 1);
    return packets;
}

/* --- The handover --- */

typedef struct Handover {
    int capture;
    unsigned long taken_before;
    long captured;
    long missed;                    /* taken, but never captured */
    long forgotten;
} Handover;

/* Pass @fd to QEMU, as "fd", and close it here */
static void vm_getfd(Vm *vm, int fd)
{
    qtest_qmp_fds_assert_success(vm->qts, &fd, 1,
                                 "{ 'execute': 'getfd',"
                                 "  'arguments': { 'fdname': 'fd' } }");
    close(fd);
}

/* Add the chardev @mode on the packet socket @fd */
static void vm_add_packet_socket(Vm *vm, const char *mode, int fd)
{
    vm_getfd(vm, fd);
    qtest_qmp_assert_success(vm->qts, "{ 'execute': 'chardev-add',"
                             "  'arguments': { 'id': %s, 'backend': {"
                             "    'type': 'socket', 'data': {"
                             "      'addr': { 'type': 'fd',"
                             "                'data': { 'str': 'fd' } },"
                             "      'server': false,"
                             "      'af-packet-mode': %s } } } }",
                             mode, mode);
}

/* Add the chardev "stream" on the socket @fd */
static void vm_add_stream(Vm *vm, int fd)
{
    vm_getfd(vm, fd);
    qtest_qmp_assert_success(vm->qts, "{ 'execute': 'chardev-add',"
                             "  'arguments': { 'id': 'stream', 'backend': {"
                             "    'type': 'socket', 'data': {"
                             "      'addr': { 'type': 'fd',"
                             "                'data': { 'str': 'fd' } },"
                             "      'server': false } } } }");
}

/* Lead what chardev @indev gives to the filters added before */
static void vm_add_filter_in(Vm *vm, const char *indev)
{
    qtest_qmp_assert_success(vm->qts, "{ 'execute': 'object-add',"
                             "  'arguments': { 'id': 'in', 'netdev': 'h0',"
                             "    'qom-type': 'filter-redirector',"
                             "    'queue': 'tx', 'position': 'head',"
                             "    'indev': %s } }", indev);
}

/* Lead what filters give to chardev @outdev */
static void vm_add_filter_out(Vm *vm, const char *outdev)
{
    qtest_qmp_assert_success(vm->qts, "{ 'execute': 'object-add',"
                             "  'arguments': { 'id': 'out', 'netdev': 'h0',"
                             "    'qom-type': 'filter-redirector',"
                             "    'queue': 'tx', 'outdev': %s } }", outdev);
}

static void vm_remove_object(Vm *vm, const char *id)
{
    qtest_qmp_assert_success(vm->qts, "{ 'execute': 'object-del',"
                             "  'arguments': { 'id': %s } }", id);
}

static void vm_remove_chardev(Vm *vm, const char *id)
{
    qtest_qmp_assert_success(vm->qts, "{ 'execute': 'chardev-remove',"
                             "  'arguments': { 'id': %s } }", id);
}

/* Start to capture at the source; lead the stream to the destination's tap */
static void handover_prepare(Handover *h, Vm *source, Vm *destination)
{
    const int bytes = QUEUE_BYTES;
    int stream[2];

    /* Bound once it has its queue, which is the one that QEMU is to keep */
    h->capture = packet_socket(SOCK_RAW);
    g_assert_cmpint(setsockopt(h->capture, SOL_SOCKET, SO_RCVBUF,
                               &bytes, sizeof(bytes)), ==, 0);
    packet_bind(h->capture, SOURCE_TAP, ETH_P_ALL);
    h->taken_before = tap_taken(SOURCE_TAP);
    h->captured = h->missed = h->forgotten = 0;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
                               stream), ==, 0);
    vm_add_packet_socket(destination, "inject",
                         packet_open(DESTINATION_TAP, 0));
    vm_add_stream(destination, stream[0]);
    vm_add_filter_out(destination, "inject");
    vm_add_filter_in(destination, "stream");
    vm_add_stream(source, stream[1]);
    vm_add_filter_out(source, "stream");
}

/* The number of frames that came to @fd since it was asked before */
static unsigned packet_new_frames(int fd)
{
    struct tpacket_stats stats;
    socklen_t len = sizeof(stats);

    g_assert_cmpint(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS,
                               &stats, &len), ==, 0);
    return stats.tp_packets - stats.tp_drops;
}

/* Forget the captured frames that the guest has got */
static void handover_forget(Handover *h)
{
    long taken = tap_taken(SOURCE_TAP) - h->taken_before;
    char frame[FRAME_LEN];

    h->captured += packet_new_frames(h->capture);
    h->missed = MAX(h->missed, taken - h->captured);
    while (h->forgotten < taken - h->missed - TAKEN_AHEAD) {
        g_assert_cmpint(recv(h->capture, frame, sizeof(frame), MSG_DONTWAIT),
                        >, 0);
        h->forgotten++;
    }
}

/* The guest has stopped: forward what it has not got, and what still comes */
static void handover_forward(Handover *h, Vm *source)
{
    handover_forget(h);
    vm_add_packet_socket(source, "capture", h->capture);
    vm_add_filter_in(source, "capture");
}

/* Wait until all frames up to number @end are in the destination's tap */
static void handover_wait(Handover *h, Vm *destination, uint32_t end)
{
    const int64_t deadline = g_get_monotonic_time() + DEADLINE_US;
    uint64_t frames;

    do {
        QDict *rsp = qtest_qmp_assert_success_ref(
            destination->qts, "{ 'execute': 'qom-get', 'arguments': {"
            "    'path': '/chardevs/inject',"
            "    'property': 'af-packet-stats' } }");

        frames = qdict_get_int(rsp, "frames");
        qobject_unref(rsp);
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    } while (frames < end - IN_TAP_BEFORE - h->forgotten);
}

/* Remove what the handover made in the source */
static void handover_remove(Vm *source)
{
    vm_remove_object(source, "in");
    vm_remove_object(source, "out");
    vm_remove_chardev(source, "capture");
    vm_remove_chardev(source, "stream");
}

/* --- Cases --- */

typedef struct Scene {
    Vm source, destination;
    Guest guest;
    Handover handover;
} Scene;

/*
 * A guest that was behind has stopped, as it is to migrate: of 64 frames it
 * has got about 32, the others wait in its tap.
 */
static void scene_start(Scene *s)
{
    vm_start(&s->source, SOURCE_TAP, "");
    vm_start(&s->destination, DESTINATION_TAP, "-incoming defer");
    guest_start(&s->guest, &s->source);
    network_send(SOURCE_TAP, 0, IN_TAP_BEFORE);
    handover_prepare(&s->handover, &s->source, &s->destination);

    guest_add_buffers(&s->guest, &s->source, 32);
    guest_kick(&s->guest);
    guest_expect(&s->guest, &s->source, IN_TAP_BEFORE);
    handover_forget(&s->handover);
    network_send(SOURCE_TAP, IN_TAP_BEFORE, 64);
    guest_expect(&s->guest, &s->source, 32);
    handover_forget(&s->handover);
    guest_add_buffers(&s->guest, &s->source, 200);

    migrate_incoming_qmp(s->destination.qts, "tcp:127.0.0.1:0", NULL, "{}");
    migrate_set_capability(s->source.qts, "pause-before-switchover", true);
    migrate_qmp(s->source.qts, s->destination.qts, NULL, NULL, "{}");
    qtest_qmp_eventwait(s->source.qts, "STOP");
    guest_expect_present(&s->guest, &s->source);
}

/* The network goes on to deliver to the source, which forwards frames */
static void scene_forward(Scene *s)
{
    wait_for_migration_status(s->source.qts, "pre-switchover", NULL);
    network_send(SOURCE_TAP, 64, 96);
    handover_forward(&s->handover, &s->source);
    network_send(SOURCE_TAP, 96, 128);
    handover_wait(&s->handover, &s->destination, 128);
}

static void scene_end(Scene *s)
{
    guest_end(&s->guest, &s->source);
    qtest_shutdown(s->source.qs);
}

/*
 * Each frame that was sent to the source after the guest had stopped, and
 * those that it had not taken before, reach the guest at the destination
 * once, in order; at most the last two that it has had come again.
 */
static void test_completed(void)
{
    uint32_t first;
    Scene s;

    scene_start(&s);
    scene_forward(&s);
    migrate_continue(s.source.qts, "pre-switchover");
    qtest_qmp_eventwait(s.destination.qts, "RESUME");
    network_send(SOURCE_TAP, 128, 160);

    first = guest_wait(&s.guest, &s.destination);
    g_assert_cmpuint(first, <=, s.guest.next);
    g_assert_cmpuint(first + TAKEN_AHEAD, >=, s.guest.next);
    s.guest.next = first + 1;
    guest_expect(&s.guest, &s.destination, 160);

    /* Now the network delivers to the destination */
    network_send(DESTINATION_TAP, 160, 192);
    guest_expect(&s.guest, &s.destination, 192);
    guest_expect_nothing(&s.guest, &s.destination);

    handover_remove(&s.source);
    qtest_shutdown(s.destination.qs);
    scene_end(&s);
}

/*
 * The migration is cancelled: the guest goes on at the source, where it gets
 * what waits in its tap, and nothing twice.
 */
static void test_cancelled(void)
{
    uint32_t first;
    Scene s;

    scene_start(&s);
    scene_forward(&s);
    migrate_cancel(s.source.qts);
    qtest_qmp_eventwait(s.source.qts, "RESUME");
    handover_remove(&s.source);
    guest_kick(&s.guest);

    /* QEMU drops the frame that waits for room in a guest that it stops */
    first = guest_wait(&s.guest, &s.source);
    g_assert_cmpuint(first, >=, s.guest.next);
    g_assert_cmpuint(first, <=, s.guest.next + 1);
    s.guest.next = first + 1;
    guest_expect(&s.guest, &s.source, 128);
    network_send(SOURCE_TAP, 128, 160);
    guest_expect(&s.guest, &s.source, 160);
    guest_expect_nothing(&s.guest, &s.source);

    qtest_set_expected_status(s.destination.qts, EXIT_FAILURE);
    qtest_wait_qemu(s.destination.qts);
    qtest_shutdown(s.destination.qs);
    scene_end(&s);
}

static const char *skip_reason;

/* Why there can't be a tap, or NULL */
static const char *tap_skip_reason(void)
{
    int fd = tap_create(SOURCE_TAP, false);

    if (fd < 0) {
        return "no tap: neither privileges nor access to /dev/net/tun";
    }
    close(fd);
    return NULL;
}

static void test_skip(void)
{
    g_test_skip(skip_reason);
}

static void add_test(const char *name, void (*func)(void))
{
    g_autofree char *path = g_strdup_printf("/af-packet/switchover/%s", name);

    qtest_add_func(path, skip_reason ? test_skip : func);
}

int main(int argc, char **argv)
{
    /* A QEMU that is gone is for an assertion to tell */
    signal(SIGPIPE, SIG_IGN);

    skip_reason = netns_skip_reason() ?: tap_skip_reason();
    g_test_init(&argc, &argv, NULL);

    add_test("completed", test_completed);
    add_test("cancelled", test_cancelled);
    return g_test_run();
}
