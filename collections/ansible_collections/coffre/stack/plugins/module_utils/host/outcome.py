"""Turn whatever a module's work raises into a sentence that is safe to print."""

from __future__ import annotations

import errno
import logging
import os
import resource
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import CoffreError


def guard(work: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any] | None, str | None]:
    """Run work and return (its result, None) or (None, a sentence).

    A CoffreError brings its own sentence. Of any other exception only the type and the place are
    told, and what the system calls its error (such as a full disk), never the message, the arguments
    or the chain: they may quote a value.
    """
    logging.disable(logging.CRITICAL)
    # The memory of this process, and of the commands it runs, holds values: no core dump may bring it to a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return work(), None
    except CoffreError as error:
        return None, str(error)
    except BaseException as error:
        frame = traceback.extract_tb(error.__traceback__, limit=-1)[0]
        number = error.errno if isinstance(error, OSError) else None
        cause = f" ({os.strerror(number)})" if number and number in errno.errorcode else ""
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        return None, f"internal error in {frame.name}: {type(error).__name__}{cause} at {place}"
    finally:
        logging.disable(logging.NOTSET)


def report(module: Any, work: Callable[[], dict[str, Any]], always: Callable[[], dict[str, Any]] = lambda: {}) -> None:
    """End an AnsibleModule with the result of work, or with the sentence that says why there is none.

    `warnings` in the result become the module's warnings. What `always` returns after the work is told in either case.
    """
    result, problem = guard(work)
    more = guard(always)[0] or {}
    if result is None:
        module.fail_json(msg=problem, **more)
    else:
        for warning in result.pop("warnings", []):
            module.warn(warning)
        # A failure that has more to tell than its sentence.
        (module.fail_json if result.pop("failed", False) else module.exit_json)(**result, **more)
