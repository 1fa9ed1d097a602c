"""What one head does, measured: where it looks, what compressing it changes, which are alike."""
