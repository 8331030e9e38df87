"""How a table comes about: protocols, cells, ways to learn, results on disk."""
