"""One HTML page about a run: what it is, what it learned, and what it is good for. A section is a function."""
