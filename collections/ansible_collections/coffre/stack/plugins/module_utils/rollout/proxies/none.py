"""No proxy: whoever sends requests to the containers looks after that by checks of its own."""

from __future__ import annotations


class NoProxy:
    """Nothing to tell anybody, and nothing to wait for."""

    def hold(self, *_: object) -> None:
        pass

    def follow(self, *_: object) -> None:
        pass

    def switch(self, *_: object) -> str:
        return ""

    def quiet(self) -> frozenset[str]:
        return frozenset()

    def found(self, *_: object) -> None:
        pass

    def drain(self, *_: object) -> None:
        pass

    def release(self, *_: object) -> None:
        pass

    def reload(self) -> str:
        return ""
