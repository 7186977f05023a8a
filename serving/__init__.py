"""A document becomes an analysis. Imports neither training/ nor torch nor transformers."""
