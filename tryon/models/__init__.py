"""The networks; each module is one part of the model, named as in the literature."""
