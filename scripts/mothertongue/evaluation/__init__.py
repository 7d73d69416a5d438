"""Evaluation of adapters beside their base model."""
