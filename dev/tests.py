"""What the scripts that run the series' tests share: which these are, what a
line of their output means, and the counts at the end."""

import collections
import pathlib
import re
import subprocess

TOP = pathlib.Path(__file__).resolve().parent.parent
QTEST = "qtest-x86_64/"
TAP = re.compile(r"(?P<bad>not )?ok \d+ (- )?(?P<name>.*?)( # SKIP ?(?P<skip>.*))?")

Result = collections.namedtuple("Result", "outcome test detail")


def new_tests():
    """Return the paths of the tests that the series adds, in QEMU's tree."""
    new = subprocess.run(
        ["git", "-C", TOP / "tree", "diff", "--diff-filter=A", "--name-only",
         "base", "HEAD", "--", "tests/unit/test-*.c",
         "tests/af-packet/test-*.py", "tests/qtest/*test*.c"],
        check=True, capture_output=True, text=True).stdout.split()
    return [pathlib.PurePath(path) for path in new]


def name_of(path):
    """Return meson's name of a test."""
    return QTEST + path.stem if path.match("qtest/*") else path.stem


def outcome_of(match):
    """Return what a line says that TAP matches."""
    return ("failed" if match["bad"] else
            "passed" if match["skip"] is None else "skipped")


def no_skip(result):
    """Return the result as it counts where nothing may be skipped."""
    if result.outcome != "skipped":
        return result
    return result._replace(outcome="failed",
                           detail=f"skipped, with CI set: {result.detail}")


def report(results):
    """Print what was not passed and the counts; return the exit status."""
    print()
    for outcome in "skipped", "failed":
        for result in results:
            if result.outcome == outcome:
                print(f"{outcome}: {result.test}: {result.detail}")
    count = collections.Counter(result.outcome for result in results)
    print(f"{count['passed']} passed, {count['failed']} failed, "
          f"{count['skipped']} skipped", flush=True)
    return 1 if count["failed"] or not count["passed"] else 0


def say(text):
    """Announce a step, as the other scripts in dev/ do."""
    print(f"==> {text}", flush=True)
