"""Raise the bundles of every stack from their sealed copies: `python3 -m coffre.host.restore`, before Docker starts.

Needs no network. Goes on after a failure, so that one damaged copy keeps no other service down.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..errors import CoffreError
from ..paths import LIB_ROOT, RUN_ROOT, STACK, StackPaths
from . import bundles, state, tmpfs
from .outcome import guard


def raise_bundles(paths: StackPaths, st: state.State) -> tuple[list[str], list[str]]:
    """Put back the bundles that state knows and tmpfs lacks. Returns (what was raised, a sentence per failure)."""
    raised, failures = [], []
    for service, entry in st.services.items():
        # Those adopted before, too: after a crash Docker may start a container that mounts one.
        for name, bundle in entry.bundles.items():
            folder = paths.bundle(service, name)
            if folder.is_dir():
                continue
            try:
                bundles.remove(folder)
                bundles.write(paths, service, name, bundle, bundles.unseal(paths, service, name))
                raised.append(f"{service}/{name}")
            except CoffreError as error:
                bundles.block(paths, service, name, bundle)
                failures.append(f"{service} of stack {paths.stack} is not restored: {error}")
        if entry.staged:
            bundles.prepare(paths, service, entry.bundles[entry.staged])
        adopted = entry.current or entry.next
        if adopted and entry.bundles[adopted].reload:
            bundles.point(paths, service, adopted)
    return raised, failures


def restore(run_root: Path, lib_root: Path) -> tuple[list[str], list[str]]:
    """Mount the tmpfs and raise the bundles of every stack that containers may mount. Returns like raise_bundles.

    A stack that was torn down has no Compose file, and its secrets stay sealed.
    """
    tmpfs.ensure(run_root)
    raised: list[str] = []
    failures: list[str] = []
    for folder in sorted(path.parent for path in lib_root.glob("*/compose.yml")):
        if not STACK.fullmatch(folder.name):
            continue
        paths = StackPaths(folder.name, run_root, lib_root)

        def work(paths: StackPaths = paths) -> dict[str, list[str]]:
            with state.locked(paths):
                done, failed = raise_bundles(paths, state.load(paths))
            return {"raised": [f"{paths.stack}/{name}" for name in done], "failures": failed}

        result, problem = guard(work)
        if result is None:
            failures.append(f"Stack {paths.stack} is not restored: {problem}")
        else:
            raised += result["raised"]
            failures += result["failures"]
    return raised, failures


def main() -> int:
    """Return 0, or 3 if some bundle is not restored, with which Docker may start, or 1 if nothing could be."""
    result, problem = guard(lambda: dict(zip(("raised", "failures"), restore(RUN_ROOT, LIB_ROOT), strict=True)))
    failures = [problem] if result is None else result["failures"]
    for name in result["raised"] if result else []:
        print(f"restored {name}")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if result is None else 3 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
