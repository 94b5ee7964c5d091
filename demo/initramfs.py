# SPDX-License-Identifier: GPL-2.0-or-later
"""An initramfs, and what a kernel needs in it: modules in order, programs with
the libraries that they are linked with.

It is written as it is made, in the format that Linux calls newc (buffer-format.rst),
and everything in it belongs to root, whoever makes it.
"""

import lzma
import os
import pathlib
import re
import stat
import subprocess

BLOCK = 4
DIRECTORY = stat.S_IFDIR | 0o755
PROGRAM = stat.S_IFREG | 0o755
SYMLINK = stat.S_IFLNK | 0o777

# Where a Debian of today has merged /bin and the like with those of /usr
MERGED = ("bin", "lib", "lib64", "sbin")


class Initramfs:
    """An archive that is being written; use it in a `with` statement."""

    def __init__(self, path):
        self.file = open(path, "wb")
        self.names = {""}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._entry("TRAILER!!!", 0, b"", 0)
        self.file.close()

    def add(self, name, content, mode=PROGRAM, mtime=0):
        """Add one file, symbolic link or folder, and the folders it is in."""
        name = str(name).strip("/")
        if name in self.names:
            return
        self.names.add(name)
        if "/" in name:
            self.add(os.path.dirname(name), b"", DIRECTORY)
        self._entry(name, mode, content, mtime)

    def add_merged_usr(self):
        """Make /bin and the like what they are on a Debian of today."""
        for name in MERGED:
            self.add(f"usr/{name}", b"", DIRECTORY)
            self.add(name, f"usr/{name}".encode(), SYMLINK)

    def add_path(self, path):
        """Add a file or folder with all that is in it, where it is here."""
        path = pathlib.Path(path)
        place = path.parent.resolve() / path.name
        status = place.lstat()
        if place.is_symlink():
            self.add(place, os.readlink(place).encode(), SYMLINK)
            if place.exists():
                self.add_path(place.parent / os.readlink(place))
        elif place.is_dir():
            self.add(place, b"", DIRECTORY)
            for inner in sorted(place.iterdir()):
                self.add_path(inner)
        else:
            self.add(place, place.read_bytes(), status.st_mode,
                     int(status.st_mtime))

    def add_libraries(self, programs):
        """Add what programs and libraries are linked with."""
        for library in libraries(programs):
            self.add_path(library)

    def add_modules(self, kernel, names):
        """Add modules of a kernel, and a file that tells their order."""
        modules = {}
        for name in names:
            add_module(modules, kernel, name)
        for name, code in modules.items():
            self.add(f"modules/{name}.ko", code)
        self.add("modules/order", "".join(f"{name}.ko\n" for name in modules)
                 .encode())

    def _entry(self, name, mode, content, mtime):
        """Write the header, the name and the content, each padded."""
        encoded = name.encode() + b"\0"
        fields = (len(self.names), mode, 0, 0, 1, mtime, len(content),
                  0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        for part in header + encoded, content:
            self.file.write(part + bytes(-len(part) % BLOCK))


def libraries(programs):
    """Return the paths of what programs and libraries are linked with."""
    told = subprocess.run(["ldd", *map(str, programs)], check=False,
                          capture_output=True, text=True).stdout
    return sorted(set(re.findall(r"(?m)^\t(?:\S+ => )?(/\S+) \(0x", told)))


def add_module(modules, kernel, name):
    """Add a module's code to a dict, after that of those that it needs.

    Linux takes '-' and '_' for the same in a module's name.
    """
    name = name.replace("-", "_")
    if name in modules or is_builtin(kernel, name):
        return
    code = module_code(kernel, name)
    needs = re.search(rb"\0depends=([^\0]*)\0", code)[1].decode()
    for needed in filter(None, needs.split(",")):
        add_module(modules, kernel, needed)
    modules[name] = code


def is_builtin(kernel, name):
    """Tell whether a module is a part of the kernel itself.

    There is no list of these in Debian's packages of 7.3: what is no module is
    taken to be built in then.
    """
    builtin = module_tree(kernel) / "modules.builtin"
    if not builtin.exists():
        return not module_path(kernel, name)
    return f"/{name}.ko" in builtin.read_text().replace("-", "_")


def module_path(kernel, name):
    """Return the path of a module's file, or None."""
    pattern = f"{name.replace('_', '[-_]')}.ko*"
    return next(module_tree(kernel).rglob(pattern), None)


def module_code(kernel, name):
    """Return the content of a module's file, unpacked."""
    path = module_path(kernel, name)
    if not path:
        raise FileNotFoundError(f"no module {name} in {module_tree(kernel)}")
    code = path.read_bytes()
    return lzma.decompress(code) if path.suffix == ".xz" else code


def module_tree(kernel):
    """Return the folder of the modules of a kernel, /boot/vmlinuz-*."""
    version = kernel.name.removeprefix("vmlinuz-")
    return kernel.parent.parent / "lib/modules" / version
