/*
 * Test helpers: sockets to pass to a chardev
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each function opens one; it returns -1 if this system does not permit that.
 */
#ifndef TESTS_UNIT_AF_PACKET_CANDIDATES_H
#define TESTS_UNIT_AF_PACKET_CANDIDATES_H

/* One on loopback, as QEMU expects it */
int open_good(void);

/* One that receives nothing */
int open_protocol_0(void);

/* One that strips the link layer header */
int open_dgram(void);

/* One that was not bound to an interface */
int open_unbound(void);

/* One whose interface was removed */
int open_removed(void);

/* One on an interface without link layer header */
int open_tun(void);

/* One with a receive ring */
int open_rx_ring(void);

/* One with a transmit ring */
int open_tx_ring(void);

/* A file that is not a socket */
int open_file(void);

#endif
