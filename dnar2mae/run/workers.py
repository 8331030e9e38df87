"""Worker processes, which end with the process that started them."""

import os
import threading
from multiprocessing import connection, parent_process


def end_with_parent() -> None:
    """Let this worker process end when the one that started it has ended, however it did.

    A parent that is killed (by a scheduler, or for its memory) tells its workers nothing: they would go on, and then
    wait for ever. To be called once, in a process that :mod:`multiprocessing` started.
    """
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
