/*
 * Capture: convert frames of an AF_PACKET socket into records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One record is staged at a time; the rest of it is read first.  Never blocks.
 * Not thread-safe.
 */
#ifndef CHARDEV_AF_PACKET_CAPTURE_H
#define CHARDEV_AF_PACKET_CAPTURE_H

#include "af-packet-port.h"

typedef struct AfPacketCapture AfPacketCapture;

/**
 * af_packet_capture_new:
 * @port: the port, which must outlive the capture
 *
 * Start capturing.
 *
 * Returns: the capture; stop it, then free it.
 */
AfPacketCapture *af_packet_capture_new(AfPacketPort *port);

/**
 * af_packet_capture_stop:
 * @cap: the capture
 *
 * Stop receiving and remove the ring from the socket.  Frames that were not
 * read are counted as lost.
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
 * @max: maximum number of bytes to take, at least 1
 * @buf: set to the bytes, which stay valid until the next take
 * @len: set to the number of bytes, at most up to the end of a record; 0 if
 *     nothing is available
 *
 * Returns: false if the socket has no frame left, so that poll() reports
 * when to continue.
 */
bool af_packet_capture_take(AfPacketCapture *cap, size_t max,
                            const uint8_t **buf, size_t *len);

/**
 * af_packet_capture_ready:
 * @cap: the capture
 *
 * Returns: true if there are bytes to take.  Otherwise poll() on the timer
 * (during a rest) or on the socket reports when to try again.
 */
bool af_packet_capture_ready(const AfPacketCapture *cap);

/**
 * af_packet_capture_resting:
 * @cap: the capture
 *
 * Returns: true during a rest: poll the timer instead of the socket.
 */
bool af_packet_capture_resting(const AfPacketCapture *cap);

/**
 * af_packet_capture_timer_fd:
 * @cap: the capture
 *
 * Returns: a file descriptor that becomes readable at the end of a rest; -1 if
 * there are no rests.
 */
int af_packet_capture_timer_fd(const AfPacketCapture *cap);

/**
 * af_packet_capture_error:
 * @cap: the capture
 * @err: the pending error of the socket, a positive errno
 *
 * Handle the error: depending on @err, note in the port that the link has to be
 * polled or that the socket is unusable, or ignore it.
 */
void af_packet_capture_error(AfPacketCapture *cap, int err);

/**
 * af_packet_capture_drop_partial:
 * @cap: the capture
 *
 * Drop a partially read record.
 */
void af_packet_capture_drop_partial(AfPacketCapture *cap);

/**
 * af_packet_capture_update_stats:
 * @cap: the capture
 *
 * Add the frames that the kernel has dropped to the port's counters.
 */
void af_packet_capture_update_stats(AfPacketCapture *cap);

#endif
