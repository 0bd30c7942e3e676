"""What a chip can hold and what it costs; knows nothing of training."""
