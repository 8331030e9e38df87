"""Fused operators: one folder each, with the PyTorch definition beside the Triton kernel."""
