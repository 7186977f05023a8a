"""Labelled documents become a model folder."""
