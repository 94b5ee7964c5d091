/*
 * QTest helpers: the guest that migrates
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A driver of libqos, whose NIC is a legacy virtio-net-pci in slot NIC_SLOT.
 * It receives numbered frames.
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
    int send_buffer;        /* of its end of the stream; 0: the least */
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

/* End the driver, in the VM where it began */
void guest_end(Guest *guest, Vm *vm);

/* Let the NIC have @count more buffers; without a kick it may not notice */
void guest_add_buffers(Guest *guest, Vm *vm, uint32_t count);

/* Tell the source's NIC that it has buffers */
void guest_kick(Guest *guest);

/* Whether the guest is asked to announce itself, some ms later */
bool guest_is_asked(Guest *guest, Vm *vm);

/* The next frames that the guest gets have to be those up to @end */
void guest_expect(Guest *guest, Vm *vm, uint32_t end);

/* The guest has got no more */
void guest_expect_nothing(Guest *guest, Vm *vm);

#endif
