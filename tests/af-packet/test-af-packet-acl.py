#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""af-packet-exec: the file that allows users to have sockets on interfaces."""


import lab
from launcher import (ALLOWED, LAUNCHER, OWN_FAILURE, WithCopy, as_nobody,
                      in_user_namespace, with_ambient_capability)


class Acl(WithCopy):
    """With a file capability, a user who may do nothing opens sockets."""

    def setUp(self):
        super().setUp()
        self.program = self.copy(capabilities="cap_net_raw+ep")
        self.allow("")
        self.more = ALLOWED.parent / "more.conf"
        self.addCleanup(self.more.unlink, missing_ok=True)

    def include(self, text, mode=0o644):
        """Have text in another file."""
        self.more.write_text(text)
        self.more.chmod(mode)

    def launch(self, ifname):
        """Start it for a socket on an interface."""
        return lab.run(*as_nobody(), self.program,
                       f"--socket=fd=10,ifname={ifname}", "echo", "was run",
                       cwd=self.folder)

    def check_allowed(self, text, ifname="lo"):
        """Expect that a text allows an interface."""
        self.allow(text)
        done = self.launch(ifname)
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (0, "was run\n", ""), text)

    def check_denied(self, text, ifname="lo", says="'lo' is"):
        """Expect that it does not, and one line that says so."""
        self.allow(text)
        self.check_refused(ifname, says)

    def check_refused(self, ifname, says):
        """Expect that there is no socket."""
        done = self.launch(ifname)
        self.assertEqual((done.returncode, done.stdout), (OWN_FAILURE, ""))
        self.assertRegex(done.stderr, "^af-packet-exec: [^\n]*\n$")
        self.assertIn(str(ALLOWED.parent), done.stderr)
        self.assertIn(says, done.stderr)

    def test_allow(self):
        for text in ("allow lo", "allow lo\n", "allow tap0\nallow lo\n",
                     "allow all\n", " # some\n\n\t allow \t lo\t\n",
                     "deny tap0\nallow lo\n", "allow lo\r\n"):
            self.check_allowed(text)

    def test_nothing_is_allowed_by_default(self):
        for text in "", "# allow lo\n", "allow tap0\n", "allow lo0\n":
            self.check_denied(text, says="'lo' is not allowed by")

    def test_deny_wins(self):
        for text in ("allow lo\ndeny lo\n", "deny lo\nallow lo\n",
                     "allow lo\ndeny all\n", "deny all\nallow all\n"):
            self.check_denied(text, says="'lo' is denied by")

    def test_include(self):
        for name in "more.conf", self.more:
            text = f"include {name}\n"
            self.include("allow lo\n")
            self.check_allowed(text)
            self.include("deny lo\n")
            self.check_denied("allow lo\n" + text)

    def test_include_is_not_of_the_callers_folder(self):
        (self.folder / "more.conf").write_text("allow lo\n")
        self.check_denied("include more.conf\n")

    def test_include_that_is_not_for_everybody(self):
        self.include("allow lo\n", mode=0o600)
        self.check_denied("include more.conf\n")
        self.check_allowed("include more.conf\nallow lo\n")

    def test_include_that_is_missing(self):
        self.check_denied("include no-such.conf\n")
        self.check_allowed("include no-such.conf\nallow lo\n")

    def test_include_without_end(self):
        self.check_denied(f"allow lo\ninclude {ALLOWED.name}\n",
                          says="more than 16 includes deep")

    def test_include_that_makes_no_sense(self):
        self.include("allow\n")
        self.check_denied("allow lo\ninclude more.conf\n",
                          says="has an invalid line")

    def test_lines_that_make_no_sense(self):
        for line in ("permit lo", "allow", "allow lo # this", "allow lo tap0",
                     "include", "allow " + "x" * 16, "lo", "allow=lo"):
            self.check_denied(f"allow lo\n{line}\n", says="has an invalid line")

    def test_file_that_is_missing(self):
        ALLOWED.unlink()
        self.check_refused("lo", "with a line 'allow NAME'")

    def test_file_that_is_not_readable(self):
        self.allow("allow lo\n")
        ALLOWED.chmod(0o600)
        self.check_refused("lo", "with a line 'allow NAME'")

    def test_each_socket(self):
        self.allow("allow lo\n")
        with lab.veth("tap0", "host0"):
            done = lab.run(*as_nobody(), self.program,
                           "--socket=fd=10,ifname=lo",
                           "--socket=fd=11,ifname=tap0", "true")
            self.assertEqual(done.returncode, OWN_FAILURE)
            self.assertIn("'tap0' is not allowed", done.stderr)

    def test_alternative_names(self):
        """It is the interface's own name that counts."""
        with lab.veth("tap0", "host0"):
            lab.ip("link property add dev tap0 altname uplink")
            self.check_allowed("allow tap0\n", "uplink")
            self.check_denied("allow uplink\n", "uplink", says="'tap0' is not")

    def test_monitor(self):
        """It counts for sockets that are handed over, too."""
        self.allow("")
        done = lab.run(*as_nobody(), self.program, "--socket=ifname=lo",
                       "--fdname=one", "--qmp=/nonexistent")
        self.assertEqual(done.returncode, OWN_FAILURE)
        self.assertIn("'lo' is not allowed", done.stderr)

    def test_effective_bit_does_not_matter(self):
        self.program = self.copy(capabilities="cap_net_raw+p")
        self.check_denied("")
        self.check_allowed("allow lo\n")

    def test_inherited_capability(self):
        """Who may let only this program have the capability is restricted."""
        self.program = self.copy(capabilities="cap_net_raw+ei")
        self.allow("")
        done = lab.run(*as_nobody("--inh-caps=+net_raw"), self.program,
                       "--socket=fd=10,ifname=lo", "true")
        self.assertEqual(done.returncode, OWN_FAILURE)
        self.assertIn("'lo' is not allowed", done.stderr)

    def test_not_for_privileged_users(self):
        ALLOWED.unlink()
        plain = self.copy()
        for start in ([LAUNCHER, "--user=0:0"], [LAUNCHER, "--user=nobody"],
                      [*with_ambient_capability(), plain],
                      [*in_user_namespace(), plain]):
            done = lab.run(*start, "--socket=fd=10,ifname=lo", "true")
            self.assertEqual((done.returncode, done.stderr), (0, ""))


if not lab.is_root:
    del Acl                 # there is only one user

if __name__ == "__main__":
    lab.main()
