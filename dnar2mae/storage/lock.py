"""A lock that goes with the process, however it ends."""


def lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file or folder until its handle is closed; return whether the system and the file system can.

    Some network file systems and Windows know no such locks.

    Parameters
    ----------
    handle
        File descriptor.
    wait
        Wait for the process that holds the lock.

    Raises
    ------
    BlockingIOError
        If another process holds the lock, without ``wait``.
    """
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True
