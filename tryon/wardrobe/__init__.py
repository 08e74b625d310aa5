"""The wardrobe: what the networks made of garments and words, kept for the frames to come."""
