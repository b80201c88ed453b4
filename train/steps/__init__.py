"""The steps of training: one file per kind of model, one update for all."""
