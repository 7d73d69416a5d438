"""Tests of the table of verdicts: models have short names, unless two are alike."""

from mothertongue.dataset import verdicts


def test_models_are_shown_by_their_last_names_unless_two_are_alike():
    entry = verdicts.shares(["good"])
    models = ["package:a/b/en-pt@0.2.0", "owner/x@1+other/y@sha256:2", "one/z@1", "two/z@1", "B@4@r"]
    sample = {"total": entry, "by_source": {"en": entry}, "by_model": dict.fromkeys(models, entry)}
    labels = [label for label, _ in verdicts.table({"sample": sample}, {"en": "English"})]
    assert labels == ["all", "from English", "by en-pt", "by x + y", "by one/z@1", "by two/z@1", "by B@4"]
