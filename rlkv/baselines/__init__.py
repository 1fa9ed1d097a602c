"""What learned masks are compared with: H2O, R-KV and DuoAttention's own procedure."""
