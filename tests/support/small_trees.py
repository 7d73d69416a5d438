"""Messages of small conversation trees, handmade or drawn by hypothesis."""

from hypothesis import strategies as st

from mothertongue.dataset.trees import Message


def message(id_, parent=None, role=None, rank=None, created="2023-01-01", **kwargs):
    """Return a message of tree `r`; by default the id (r, ra, rab, …) determines parent and role (r: prompter)."""
    role = role or ("prompter" if len(id_) % 2 else "assistant")
    values = {"text": f"text {id_}", "deleted": False, "review_result": True, "status": "translated"} | kwargs
    parent = id_[:-1] or None if parent is None else parent
    return Message(id_, parent, "r", role, rank=rank, created=created, **values)


@st.composite
def trees(draw):
    size = draw(st.integers(1, 25))
    messages = []
    for i in range(size):
        parent = draw(st.sampled_from([None, *messages])) if messages else None
        flip = draw(st.integers(0, 9)) == 0  # sometimes a child has the role of its parent
        role = "prompter" if parent is None or (parent.role == "assistant") != flip else "assistant"
        missing = parent is None and draw(st.integers(0, 4)) == 0
        messages.append(
            Message(
                f"m{i}",
                "gone" if missing else (parent.id if parent else None),
                "t",
                role,
                "text",
                draw(st.sampled_from([None, 0, 1, 2])),
                draw(st.sampled_from(["2023-01-01", "2023-01-02"])),
                draw(st.integers(0, 5)) == 0,
                draw(st.sampled_from([True, None, True, False])),
                draw(st.sampled_from(["translated", "native", "failed", "flagged"])),
            )
        )
    return messages
