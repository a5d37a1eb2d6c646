"""From source tables to features: join, check, compute, split in time."""
