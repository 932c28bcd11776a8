"""A pass of the NAT decoder as a line of text."""

from rich.text import Text

from mtnat.analysis.inspection import InspectedPass
from mtnat.decoding import TracedPass


def pass_line(each: TracedPass | InspectedPass) -> Text:
    """Returns a line such as ``pass 2  masked 5  changed 1  -0.830  lengths 6 7 5 | Ein [Mann] *schläft* .``.

    Brackets mark pieces that were predicted in this pass, asterisks those that changed.
    """
    lengths = " ".join(str(length) for length in each.lengths)
    masked, changed = sum(each.is_masked), sum(each.is_changed)
    text = Text(f"pass {each.number:<3} masked {masked:<3} changed {changed:<3} {each.score:7.3f}  lengths {lengths} | ")
    for piece, is_masked, is_changed in zip(each.pieces, each.is_masked, each.is_changed, strict=True):
        if is_changed:
            text.append(f"*{piece}*", style="bold green")
        elif is_masked:
            text.append(f"[{piece}]", style="cyan")
        else:
            text.append(piece)
        text.append(" ")
    text.rstrip()
    return text
