"""Exits 0 if this container's web answers a path with 200."""

import sys
import urllib.request

with urllib.request.urlopen(f"http://127.0.0.1:8000{sys.argv[1]}", timeout=6) as answer:
    sys.exit(answer.status != 200)
