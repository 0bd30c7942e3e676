"""What a network did, in integers: one result type, reached from live models, graphs and chip simulators."""
