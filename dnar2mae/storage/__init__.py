"""Files written whole or not at all, caches, digests and progress."""
