/*
 * Numbered frames and datagrams, for the demos and the benchmark
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *   traffic pass SOURCE [FD] SINK [FD] SIZE COUNT [EXTRA...]
 *       Frames of SIZE bytes, from what makes or receives them:
 *           steady             EXTRA: so many a second; none: at full speed
 *           bursts             EXTRA: sockets that must be drained in between
 *           sealed             of SIZE at most; EXTRA: at least, first number
 *           pings              one by one; EXTRA: where they come back
 *           recv FD, recvmmsg FD, ring2 FD, ring3 FD    a packet socket
 *           listen FD          a packet socket, sealed ones; EXTRA: first one
 *           records FD         a stream
 *       to
 *           check
 *           send FD            a packet socket
 *           records FD         a stream
 *       FD is an inherited socket.  When all is open this prints "ready", it
 *       starts when it reads a line, and in the end prints a line of counters.
 *       It lives until the end of standard input, so that the clock of its CPU
 *       time can be read.  "sealed" and "listen" go on until then, and print
 *       their counters for each line that they read.
 *   traffic record
 *   traffic datagrams ADDRESS RUN RATE
 *   traffic stream ADDRESS
 *       In a guest, and for its clients: see datagrams.c.
 */
#include "traffic.h"

#include <string.h>

static const struct Command {
    const char *name;
    int (*run)(char **words);
    int least, most;            /* words */
} commands[] = {
    { "pass", cmd_pass, 4, 10 },
    { "record", cmd_record, 0, 0 },
    { "datagrams", cmd_datagrams, 3, 3 },
    { "stream", cmd_stream, 1, 1 },
    { }
};

int main(int argc, char **argv)
{
    const struct Command *command;

    for (command = commands; argc > 1 && command->name; command++) {
        if (strcmp(argv[1], command->name) == 0 &&
            argc - 2 >= command->least && argc - 2 <= command->most) {
            return command->run(argv + 2);
        }
    }
    wrong("no such command, see traffic.c");
}
