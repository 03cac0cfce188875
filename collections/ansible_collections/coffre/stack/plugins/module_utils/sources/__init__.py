"""Where values come from: the sources by name, behind one protocol (base.Source)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Source


def load(stack: str, params: Mapping[str, Any]) -> Source:
    """The source that a module's parameters name: source, directory, trailing_newline, keyvault.

    The imports are written out so that Ansible finds them. Raises SourceError for settings of a vault that are wrong.
    """
    if params["source"] == "demo":
        from .demo import Demo

        return Demo(stack)
    if params["source"] == "file":
        from .directory import Directory

        directory = params.get("directory")
        return Directory(Path(directory) if directory else None, params.get("trailing_newline", "refuse"))
    if params["source"] == "keyvault":
        from ..keyvault.settings import settings
        from .keyvault import KeyVault

        return KeyVault(stack, settings(params.get("keyvault")), params.get("trailing_newline", "refuse"))
    raise ValueError(f"{params['source']} is no source")
