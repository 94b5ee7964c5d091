/*
 * Capture: frames of an AF_PACKET socket as records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One record is staged at a time; what is left of it is what is read next.
 * Never blocks.  Not locked.
 */
#ifndef CHARDEV_AF_PACKET_CAPTURE_H
#define CHARDEV_AF_PACKET_CAPTURE_H

#include "af-packet-port.h"

typedef struct AfPacketCapture AfPacketCapture;

/**
 * af_packet_capture_new:
 * @port: the port, which has to outlive the capture
 *
 * Start to capture.
 *
 * Returns: the capture, to be stopped, then freed.
 */
AfPacketCapture *af_packet_capture_new(AfPacketPort *port);

/**
 * af_packet_capture_stop:
 * @cap: the capture
 *
 * Receive no more, and leave the socket without a ring.  Frames that had not
 * been read are counted as lost.
 */
void af_packet_capture_stop(AfPacketCapture *cap);

/**
 * af_packet_capture_free:
 * @cap: the capture, stopped or not; NULL is ignored
 */
void af_packet_capture_free(AfPacketCapture *cap);

/**
 * af_packet_capture_take:
 * @cap: the capture
 * @max: the most bytes to take, at least 1
 * @buf: set to the bytes, which stay valid until the next take
 * @len: set to how many they are; never of more than one record, 0 if there
 *     are none now
 *
 * Returns: false if the socket has no frame left, so that poll() reports
 * when to go on.
 */
bool af_packet_capture_take(AfPacketCapture *cap, size_t max,
                            const uint8_t **buf, size_t *len);

/**
 * af_packet_capture_ready:
 * @cap: the capture
 *
 * Returns: true if there are bytes to take.  Otherwise poll() reports when
 * there are: on the timer during a rest, on the socket otherwise.
 */
bool af_packet_capture_ready(const AfPacketCapture *cap);

/**
 * af_packet_capture_resting:
 * @cap: the capture
 *
 * Returns: true while it is better to wait for the timer than for the socket.
 */
bool af_packet_capture_resting(const AfPacketCapture *cap);

/**
 * af_packet_capture_timer_fd:
 * @cap: the capture
 *
 * Returns: what becomes readable when a rest is over; -1 if there are none.
 */
int af_packet_capture_timer_fd(const AfPacketCapture *cap);

/**
 * af_packet_capture_error:
 * @cap: the capture
 * @err: an errno that the socket had pending
 *
 * Note in the port what follows: that the link has to be polled, that the
 * socket is unusable, or nothing.
 */
void af_packet_capture_error(AfPacketCapture *cap, int err);

/**
 * af_packet_capture_drop_partial:
 * @cap: the capture
 *
 * Drop a record that has been read partly.
 */
void af_packet_capture_drop_partial(AfPacketCapture *cap);

/**
 * af_packet_capture_update_stats:
 * @cap: the capture
 *
 * Add what the kernel has dropped to the port's counters.
 */
void af_packet_capture_update_stats(AfPacketCapture *cap);

#endif
