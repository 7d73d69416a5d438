"""Tests of the helpers that the rules of all stages use."""

import pytest

from mothertongue.common.errors import UserError
from mothertongue.workflow import rule_helpers


@pytest.mark.parametrize("path", ["a{b}", "a<b>", "a\nb", "a\x1b[31m"])
def test_paths_that_snakemake_would_treat_as_patterns_are_refused(path):
    with pytest.raises(UserError, match=r"Snakemake takes no \{\}, <> or control characters in it; rename it"):
        rule_helpers.usable("fine", path)


def test_a_user_error_ends_in_one_line_and_a_bug_in_a_traceback():
    def refuse(text):
        raise UserError(text)

    with pytest.raises(SystemExit, match=r"^error: a\\u001b: do this$"):
        rule_helpers.checked(refuse, "a\x1b: do this")
    with pytest.raises(ZeroDivisionError):
        rule_helpers.in_one_line(lambda wildcards: 1 / 0)(None)


def test_two_models_never_share_a_folder():
    rule_helpers.check_folders([("tuning", "a/b"), ("tuning", "a/b")])
    with pytest.raises(UserError, match=r"models a/b \(opus-mt\) and a/b \(tuning\) would share a folder"):
        rule_helpers.check_folders([("opus-mt", "a/b"), ("tuning", "a/b")])


def test_resources_double_once_and_literal_values_keep_their_braces():
    assert [rule_helpers.double_on_retry(10)(None, attempt) for attempt in (1, 2, 3)] == [10, 20, 20]
    assert rule_helpers.literal("{x}")(None) == "{x}" and rule_helpers.given("--x", ["-a", ""]) == ["--x=-a", "--x="]
