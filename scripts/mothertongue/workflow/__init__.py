"""The logic of the workflow itself, for the rules and scripts/plan.py."""
