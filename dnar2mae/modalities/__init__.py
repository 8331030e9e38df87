"""Kinds of data. ``registry`` finds one by name, ``contract`` says what the pretraining loop asks of it."""
