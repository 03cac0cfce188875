"""The gunicorn worker that leaves without losing a request."""

import socket
import threading
from types import FrameType

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

DRAIN = 2.0  # seconds; the proxy asks /health every half second


class DrainingWorker(ThreadWorker):  # type: ignore[misc]
    """On SIGTERM: /health answers 503 while requests are still taken, for `DRAIN` seconds, so that the proxy turns
    to the other instance; then whoever is in the queue is let in, the door is shut, and what runs is finished.
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal changes nothing."""
        if self.wsgi is None:
            super().handle_exit(sig, frame)
            return
        stopping: threading.Event = self.wsgi.extensions["coffre"].stopping
        if not stopping.is_set():
            stopping.set()
            leave = threading.Timer(DRAIN, super().handle_exit, (sig, None))
            leave.daemon = True
            leave.start()

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
