"""What a rollout asks of whatever says which container of a service gets requests."""

from __future__ import annotations

from typing import Protocol

Addresses = frozenset[str]  # of containers, as text


class Proxy(Protocol):
    """Raises CoffreError where it does not answer. Of one service at a time, whose containers come, leave or stay."""

    def hold(self, leaving: Addresses, staying: Addresses = frozenset(), /) -> None:
        """Keep requests from a container that comes beside these, until the switch."""

    def follow(self, leaving: Addresses, more: Addresses, /) -> None:
        """Wait a while until it finds those that leave at further addresses, which they have been given."""

    def switch(self, leaving: Addresses, coming: Addresses, seconds: float, /) -> str:
        """Send requests to those that come instead of those that leave: "", or what is wrong after these seconds."""

    def quiet(self) -> frozenset[str]:
        """Wait a while until nothing is under way; returns for what somebody answers, in its own words."""

    def found(self, answered: frozenset[str], seconds: float, /) -> None:
        """Wait, these seconds at most, until somebody answers again for all that `quiet` returned."""

    def drain(self, leaving: Addresses, /) -> None:
        """Wait a while for what those that leave are still answering; they get nothing more."""

    def release(self, gone: Addresses = frozenset(), /) -> None:
        """End what `hold` and `switch` set, once none that is gone can be sent anything."""

    def reload(self) -> str:
        """Have it read its bundle anew: "", or why it goes on with what it has."""
