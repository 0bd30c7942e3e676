"""netx, lava-dl's HDF5 format for networks: written for Lava, and read as Lava reads it."""
