"""Memory and speed of the split cache against our own full cache and transformers' caches."""
