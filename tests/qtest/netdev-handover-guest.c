/*
 * QTest helpers: the guest that migrates
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include "../unit/af-packet-helpers.h"
#include "netdev-handover-guest.h"
#include "packet-stream.h"
#include "qemu/bswap.h"
#include "qemu/timer.h"
#include "standard-headers/linux/virtio_net.h"
#include "standard-headers/linux/virtio_pci.h"

#define BUFFER_LEN 2048
#define HDR_LEN_MAX sizeof(struct virtio_net_hdr_mrg_rxbuf)

const uint8_t guest_mac[ETH_ALEN] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

/* Longer than QEMU's polling interval */
#define CLOCK_STEP_NS (20 * SCALE_MS)

void guest_add_buffers(Guest *guest, Vm *vm, uint32_t count)
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

void guest_kick(Guest *guest)
{
    guest->dev->vdev.bus->virtqueue_kick(&guest->dev->vdev, guest->rx);
}

void guest_start(Guest *guest, Vm *vm, uint64_t features)
{
    QPCIAddress addr = { .devfn = QPCI_DEVFN(NIC_SLOT, 0) };
    QVirtioDevice *vdev;

    *guest = (Guest) {
        .dev = virtio_pci_new(vm->qs->pcibus, &addr),
        .hdr_len = features & 1 << VIRTIO_NET_F_MRG_RXBUF ?
                   sizeof(struct virtio_net_hdr_mrg_rxbuf) : VNET_HDR_LEN,
    };
    vdev = &guest->dev->vdev;
    qvirtio_pci_device_enable(guest->dev);
    qvirtio_start_device(vdev);
    qvirtio_set_features(vdev, features);
    guest->rx = qvirtqueue_setup(vdev, &vm->qs->alloc, 0);
    guest->buffers = guest_alloc(&vm->qs->alloc,
                                 guest->rx->size * BUFFER_LEN);
    qvirtio_set_driver_ok(vdev);
}

/* Returns: the number of the next received frame, or -1 if there is none */
static int64_t guest_take(Guest *guest, Vm *vm)
{
    uint8_t buf[HDR_LEN_MAX + FRAME_LEN], *frame = buf + guest->hdr_len;
    uint32_t desc;

    while (qvirtqueue_get_buf(vm->qts, guest->rx, &desc, NULL)) {
        qtest_memread(vm->qts, guest->buffers + desc * BUFFER_LEN, buf,
                      guest->hdr_len + FRAME_LEN);
        /* It starts after the header, where the guest expects it */
        g_assert_true(frame[0] & 1 ||
                      !memcmp(frame, guest_mac, ETH_ALEN));
        if (lduw_be_p(frame + 2 * ETH_ALEN) == TEST_ETHERTYPE) {
            return ldl_be_p(frame + ETH_HLEN);
        }
    }
    return -1;
}

bool guest_is_asked(Guest *guest, Vm *vm)
{
    uint64_t status = guest->dev->bar.addr + VIRTIO_PCI_CONFIG_OFF(false) +
                      offsetof(struct virtio_net_config, status);

    qtest_clock_step(vm->qts, CLOCK_STEP_NS);
    return qtest_inw(vm->qts, status) & VIRTIO_NET_S_ANNOUNCE;
}

void guest_expect(Guest *guest, Vm *vm, uint32_t end)
{
    const int64_t until = deadline();
    int64_t number;

    while (guest->next < end) {
        number = guest_take(guest, vm);
        if (number >= 0) {
            g_assert_cmpint(number, ==, guest->next);
            guest->next++;
        }
        g_assert_cmpint(g_get_monotonic_time(), <, until);
    }
}

void guest_expect_nothing(Guest *guest, Vm *vm)
{
    g_assert_cmpint(guest_take(guest, vm), ==, -1);
}

void guest_end(Guest *guest, Vm *vm)
{
    qvirtqueue_cleanup(guest->dev->vdev.bus, guest->rx, &vm->qs->alloc);
    qvirtio_pci_device_disable(guest->dev);
    g_free(guest->dev->pdev);
    g_free(guest->dev);
}
