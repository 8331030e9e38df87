"""Time series as a kind of data for dnar2mae: an example of a plug-in."""
