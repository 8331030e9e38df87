"""The models that are judged: pretrained encoders, their random controls, k-mer counts, a small CNN."""
