"""What one pass through each kind of layer says about its per-record gradients: one file a kind of layer."""
