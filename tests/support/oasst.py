"""Rows of OASST files for tests."""

import json
from pathlib import Path


def row(message_id, parent_id=None, tree=None, role=None, lang="en", text="Hello there.", **kwargs):
    """Return one message in the OASST schema; by default, messages with a parent are the assistant's."""
    return {
        "message_id": message_id,
        "parent_id": parent_id,
        "user_id": "u",
        "created_date": "2023-02-07T17:29:24.727400+00:00",
        "text": text,
        "role": role or ("assistant" if parent_id else "prompter"),
        "lang": lang,
        "review_count": 3,
        "review_result": True,
        "deleted": False,
        "rank": 0 if parent_id else None,
        "synthetic": False,
        "model_name": None,
        "detoxify": {"toxicity": 0.001},
        "message_tree_id": tree or parent_id or message_id,
        "tree_state": "ready_for_export",
        "emojis": {"name": ["+1"], "count": [2]},
        "labels": {"name": ["spam"], "value": [0.0], "count": [3]},
    } | kwargs


def write(path: Path, *rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path
