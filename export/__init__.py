"""From torch modules to a Triton model repository: trace, compare, configure, assemble."""
