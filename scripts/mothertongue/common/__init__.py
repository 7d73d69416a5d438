"""Utilities of all steps: errors, files, progress, arguments, hardware, languages."""
