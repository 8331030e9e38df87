"""Time series as a modality of dnar2mae: an example of a plug-in."""
