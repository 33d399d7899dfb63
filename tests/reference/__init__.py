"""Numbers that PyTorch computed, which our networks must reproduce."""
