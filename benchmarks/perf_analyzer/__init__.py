"""Request files of NVIDIA's own load generator, for the served ensemble."""
