"""From video to simulated events: decoding, the paper's frame difference, clips and event files."""
