"""What the rules and scripts/plan.py know of the workflow itself."""
