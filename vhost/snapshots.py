# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of a guest, in a disk that it does not see."""

import os
import tempfile

import lab

DISK = "disk"
DISK_BYTES = 64 << 20


def add_disk(cleanup, machine):
    """Add a disk that is for snapshots only."""
    file = cleanup.enter_context(tempfile.NamedTemporaryFile())
    os.chmod(file.name, 0o666)
    machine.qemu.command("blockdev-add", driver="file", filename=file.name,
                         **{"node-name": "file"})
    run_job(machine, "blockdev-create", options={
        "driver": "qcow2", "file": "file", "size": DISK_BYTES})
    machine.qemu.command("blockdev-add", driver="qcow2", file="file",
                         **{"node-name": DISK})


def save(machine):
    """Save a snapshot, in place of the last one; the guest stops meanwhile."""
    run_job(machine, "snapshot-save", tag="snapshot", vmstate=DISK,
            devices=[DISK])
    run_job(machine, "snapshot-delete", tag="snapshot", devices=[DISK])


def run_job(machine, command, **arguments):
    """Run a command that is a job, until its end."""
    machine.qemu.command(command, **arguments, **{"job-id": command})
    machine.expect("JOB_STATUS_CHANGE", id=command, status="concluded")
    job, = machine.qemu.command("query-jobs")
    if "error" in job:
        raise lab.Trouble(f"{command}: {job['error']}")
    machine.qemu.command("job-dismiss", id=command)
