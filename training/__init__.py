"""Training: data, losses, stages, evaluation."""
