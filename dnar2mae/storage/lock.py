"""A lock that ends with the process, even one that is killed."""


def lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file or folder until its handle is closed; return False where the system has no such locks.

    Windows and some network file systems have none.

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
    # it is an OSError, too, but one that says that the lock works
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True
