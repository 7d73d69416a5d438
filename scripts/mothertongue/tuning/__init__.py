"""Tuning of LoRA adapters."""
