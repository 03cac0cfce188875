"""The gunicorn worker that leaves without losing a request."""

import socket
import threading
import time
from types import FrameType

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from app.runtime import Runtime

DRAIN = 2.0  # seconds at most; the proxy asks /health four times a second, and ten times once it was refused
LAST = 0.1  # seconds for a request that the proxy sent while it was being turned away


class DrainingWorker(ThreadWorker):  # type: ignore[misc]
    """On SIGTERM: /health answers 503 while requests are still taken, until the proxy has turned to the other instance
    or `DRAIN` is over; then whoever is in the queue is let in, the door is shut, and what runs is finished.
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal changes nothing."""
        if self.wsgi is None:
            super().handle_exit(sig, frame)
            return
        now: Runtime = self.wsgi.extensions["coffre"]
        if not now.stopping.is_set():
            now.stopping.set()
            threading.Thread(target=self._leave, args=(now, sig), daemon=True).start()

    def _leave(self, now: Runtime, sig: int) -> None:
        if now.wait_until_turned_away(DRAIN):
            time.sleep(LAST)
        super().handle_exit(sig, None)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Shutting for good: take what the kernel has already accepted, then refuse at once instead of at the end."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                self._take_queue(listener)
                listener.close()

    def _take_queue(self, listener: socket.socket) -> None:
        before = -1
        while before != self.nr_conns:
            before = self.nr_conns
            self.accept(listener)
