"""How a table comes about: protocols, cells, methods to learn, results on disk."""
