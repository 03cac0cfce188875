"""gunicorn's settings: one process, so that one token call a second is one for the app."""

from app import logs

wsgi_app = "app:create_app()"
bind = "0.0.0.0:8000"
workers = 1
worker_class = "app.worker.DrainingWorker"
threads = 16
timeout = 30
# Drain and finish within the engine's 20 s.
graceful_timeout = 15
# Each request on a connection of its own: a kept one could be closed just when the proxy reuses it.
keepalive = 0
# The root file system is read-only.
worker_tmp_dir = "/dev/shm"  # noqa: S108 (the file is unlinked as soon as it is made)
control_socket_disable = True
logconfig_dict = logs.CONFIG
