"""make new-stack NAME=shop [FROM=compose.yaml]"""

from __future__ import annotations

import sys
from pathlib import Path

from ..errors import CoffreError
from .begin import begin
from .propose import Proposal, propose
from .read import read
from .write import PORTS, free_ports, free_uids, refuse, taken, write


def new_stack(root: Path, name: str, source: str) -> str:
    """Write the folder and return what there is to say. Raises CoffreError with nothing written."""
    refuse(root, name)
    uids = free_uids(root)
    found = read(Path(source)) if source else None
    if found:
        proposal = propose(found, uids)
        free_ports(proposal)
    else:
        proposal = begin(uids[0], next(port for port in PORTS if not taken(port)))
    written = write(root, name, proposal, found.path if found else None)
    return _said(name, proposal, written)


def _said(name: str, proposal: Proposal, written: list[str]) -> str:
    lines = [f"Written: {', '.join(written)}."]
    if proposal.decide:
        lines += ["", f"To decide, and in inventory/{name}/TODO.md:", *(f"- {line}" for line in proposal.decide), ""]
    lines.append(f"Next: make quickstart ENV={name}")
    if proposal.origins:
        lines.append(f"or, where this stack runs already, make move-in ENV={name} first: it takes the present values.")
    return "\n".join(lines)


def main(root: str, name: str, source: str) -> None:
    try:
        print(new_stack(Path(root), name, source))
    except CoffreError as error:
        sys.exit(str(error))
    except Exception as error:  # what it holds could be a value
        sys.exit(f"No stack could be made of {source or name} ({type(error).__name__}); nothing was written.")


if __name__ == "__main__":
    main(*sys.argv[1:])
