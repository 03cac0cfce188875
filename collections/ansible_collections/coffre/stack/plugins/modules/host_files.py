"""Writes a set of root's files at once, where ansible.builtin.copy needs a round trip for each."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_files
short_description: Writes root's files, all in one call
version_added: 0.1.0
description:
  - Each file appears whole or not at all, is root's and has mode 0644.
  - For files without secrets only; the content is an argument.
options:
  files:
    description: The content of each file by its absolute path. Missing directories are made with mode 0755.
    type: dict
    required: true
attributes:
  check_mode:
    description: Tells which files would be written.
    support: full
  diff_mode:
    description: Shows no contents.
    support: none
author: [Coffre]
"""

EXAMPLES = r"""
- name: Write the packet filter
  coffre.stack.host_files:
    files:
      /usr/local/lib/coffre/firewall.nft: "{{ lookup('ansible.builtin.template', 'firewall.nft.j2') }}"
"""

RETURN = r"""
written:
  description: The files that were missing or different.
  type: list
  elements: str
  returned: always
"""


def differs(path: Path, content: bytes) -> bool:
    """Whether the file is not a regular one of root's, mode 0644, with this content."""
    if path.is_symlink() or not path.is_file():
        return True
    status = path.stat()
    return (status.st_uid, status.st_gid, status.st_mode & 0o7777) != (0, 0, 0o644) or path.read_bytes() != content


def write(path: Path, content: bytes) -> None:
    """Put the file in its place by a rename."""
    for parent in reversed([parent for parent in path.parents if not parent.exists()]):
        parent.mkdir()
        parent.chmod(0o755)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchown(descriptor, 0, 0)
            os.fchmod(descriptor, 0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


def main() -> None:
    module = AnsibleModule(argument_spec={"files": {"type": "dict", "required": True}}, supports_check_mode=True)
    contents = {Path(path): content.encode() for path, content in module.params["files"].items()}
    written = [path for path, content in contents.items() if differs(path, content)]
    if not module.check_mode:
        for path in written:
            write(path, contents[path])
    module.exit_json(changed=bool(written), written=[str(path) for path in written])


if __name__ == "__main__":
    main()
