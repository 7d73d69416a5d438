"""Mothertongue's library: one module a concept. It never imports snakemake and never reads the configuration."""
