/*
 * QTest helpers: the guest that migrates
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A libqos driver for a legacy virtio-net-pci device in slot NIC_SLOT.  It
 * receives numbered frames.
 */
#ifndef TESTS_QTEST_NETDEV_HANDOVER_GUEST_H
#define TESTS_QTEST_NETDEV_HANDOVER_GUEST_H

#include "libqos/libqos-pc.h"
#include "libqos/virtio-pci.h"
#include "libqtest.h"

#define NIC_SLOT 4
#define FRAME_LEN 600
#define VNET_HDR_LEN 10

typedef struct Vm {
    QOSState *qs;
    QTestState *qts;
    int send_buffer;        /* SO_SNDBUF of its end of the stream; 0: minimum */
} Vm;

typedef struct Guest {
    QVirtioPCIDevice *dev;
    QVirtQueue *rx;
    uint64_t buffers;
    uint32_t n_buffers;     /* made available to the NIC */
    uint32_t next;          /* number of the frame expected next */
    size_t hdr_len;         /* of its vnet header */
} Guest;

extern const uint8_t guest_mac[6];

/* Start the driver, with these features, in a VM without another one */
void guest_start(Guest *guest, Vm *vm, uint64_t features);

/* End the driver, in the VM where it was started */
void guest_end(Guest *guest, Vm *vm);

/* Add @count buffers; without a kick, the NIC may not notice */
void guest_add_buffers(Guest *guest, Vm *vm, uint32_t count);

/* Notify the source's NIC of new buffers */
void guest_kick(Guest *guest);

/* Returns: whether the guest is asked to announce itself within some ms */
bool guest_is_asked(Guest *guest, Vm *vm);

/* Check that the guest receives the next frames up to @end */
void guest_expect(Guest *guest, Vm *vm, uint32_t end);

/* Check that the guest has not received another frame */
void guest_expect_nothing(Guest *guest, Vm *vm);

#endif
