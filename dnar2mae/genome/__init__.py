"""From sequence files to windows: the memory-mapped genome, its split, sources of windows, counting models."""
