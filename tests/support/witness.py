"""A key, and a sitecustomize.py that notes which programs have it in their environment."""

KEY = "sk-very-secret-0123456789"
# Notes of each program of the rules whether it has the key.
WITNESS = """
import json, os, sys
script = next((name for name in sys.argv[:1] if "/scripts/" in name or name.startswith("scripts/")), "")
if script and os.environ.get("WITNESSED"):
    with open(os.environ["WITNESSED"], "a") as file:
        print(json.dumps([script.rpartition("/")[2], "ENDPOINT_API_KEY" in os.environ]), file=file)
"""
