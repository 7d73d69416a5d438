"""Tests of the lines about the progress of long tasks."""

from mothertongue.common.progress import Progress


def test_an_empty_part_at_the_beginning_is_no_rate(capsys):
    """An empty shard may come first, after a pause longer than the interval."""
    progress = Progress("combine", 10, "messages", interval=0)
    progress.advance(0)
    assert not capsys.readouterr().err
    progress.advance(4)
    progress.finish()
    assert "combine: 4 of 10 messages" in capsys.readouterr().err
