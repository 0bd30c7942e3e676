"""`neuroemo energy tradeoff`: several energy reports as one curve, accuracy against energy."""
