"""Real-time virtual try-on: the model and what training, export, serving and client agree on."""
