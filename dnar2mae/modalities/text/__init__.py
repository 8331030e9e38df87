"""Text: documents as bytes or tokens of a ``tokenizer.json``."""
