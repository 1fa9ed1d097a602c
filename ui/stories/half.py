"""The story of what compressing half of the heads saves, and what it costs."""

from __future__ import annotations

import numpy as np

from rlkv.masks import HeadMask
from ui.components.charts import Value, bars_value, line, lines_value, series
from ui.components.headmap import head_map_value
from ui.components.tokens import kl_tokens
from ui.glossary import term
from ui.stories.telling import (
    Record,
    Step,
    Story,
    Widget,
    final,
    kept_of,
    percent,
    quoted,
    race,
    read,
    verdict,
)

LENGTHS = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]


def story() -> Story:
    """All five steps, from the record.

    Raises:
        OSError, ValueError, KeyError: if the record is not as it should be.
    """
    record = read("half")
    sparsity = 1.0 - float(kept_of(record).mean())
    return Story(
        "half",
        f"What {percent(sparsity)} costs",
        "Half of the heads compressed: the price and the gain.",
        [_race(record), _saved(record), _which(record), _cuts(record), _breaks(record)],
    )


def _mask(record: Record) -> HeadMask:
    return HeadMask(
        scores=np.asarray(record["scores"], dtype=np.float32),
        kept=kept_of(record),
        sink=int(record["window"]["sink"]),
        recent=int(record["window"]["recent"]),
    )


def _race(record: Record) -> Step:
    full, cut = record["race"]["sides"]
    mask = _mask(record)
    length = min(side["steps"][-1]["length"] for side in (full, cut))

    def held(side: Record) -> int:
        return max(int(s["kv_bytes"]) for s in side["steps"] if s["length"] <= length)

    same = "the same answer" if final(full) == final(cut) else "another answer"
    words = [
        f"The mask of this model compresses {mask.kept.size - mask.n_kept} of its {mask.kept.size} "
        f"{term('kv head', 'KV heads', after=':')} a {term('sparsity', 'sparsity')} of "
        f"{percent(mask.sparsity)}. Both sides get the same question.",
        f"The compressed side gives {same}, {quoted(final(cut))}, which is "
        f"{verdict(cut['right'])}. At {length} tokens it holds "
        f"{percent(1 - held(cut) / held(full))} less memory.",
    ]
    hints = ("every head kept", f"{percent(mask.sparsity)} compressed")
    return Step("Same question, less memory", words, [race(record, hints)])


def _saved(record: Record) -> Step:
    mask = _mask(record)
    saved = [(n, mask.kv_saved(n)) for n in LENGTHS]
    chart = lines_value(
        "KV saved, by length of the text",
        [line("KV saved", "ink", saved)],
        x="tokens",
        unit="%",
        range=(0, 0.6),
        dots=True,
    )
    bytes_ = int(record["head_bytes"])
    memory = lines_value(
        "Memory of the whole cache",
        [
            line("full", "full", [(n, mask.kept.size * n * bytes_) for n in (0, LENGTHS[-1])]),
            line(
                "compressed",
                "comp",
                [
                    (n, mask.kv_bytes(n, head_dim=bytes_ // 2, itemsize=1))
                    for n in (0, mask.sink + mask.recent, LENGTHS[-1])
                ],
            ),
        ],
        x="tokens",
        y="KV memory",
        unit="B",
        ends=True,
    )
    window = mask.sink + mask.recent
    words = [
        f"{term('sparsity', 'Sparsity')} is not yet memory. While the text fits into the window of "
        f"{window} tokens, nothing is saved. After 64 tokens it is {percent(mask.kv_saved(64))}, "
        f"after 1,024 tokens {percent(mask.kv_saved(1024))}: {term('kv saved', 'KV saved')} grows "
        f"towards {percent(mask.sparsity)}.",
        "The longer a model reasons, the more this pays.",
    ]
    return Step("What it saves", words, [Widget("chart", chart), Widget("chart", memory)])


def _which(record: Record) -> Step:
    found = record["accuracy"]
    at = _own_cut(record)
    shares = [found[name][at] for name in ("learned", "random", "opposite")]
    names = ["learned", "random", "opposite"]
    chart = bars_value(
        f"Right answers at {percent(found['cuts'][at])} sparsity",
        [{**series("right answers", "ink", shares), "roles": ["full", "soft", "soft"]}],
        names,
        unit="%",
        range=(0, 1),
        hover=["the learned heads kept", "random heads kept", "the opposite heads kept"],
    )
    kept = kept_of(record)
    picture = head_map_value(
        kept.astype(np.float64),
        kept=kept,
        view="kept",
        scale="kept",
        hover=[["" for _ in row] for row in record["kept"]],
        legend={},
        name="Which heads keep a full cache",
        column="kept",
        file="kept",
    )
    words = [
        f"Of {found['n']} unseen problems the model answers {percent(shares[0])} right with these "
        f"heads kept. With as many heads drawn at random it is {percent(shares[1])} (mean of "
        f"{found['draws']} draws), with exactly the other ones {percent(shares[2])}.",
        "The memory is the same each time. It matters <b>which</b> heads have it.",
    ]
    title = "Kept and compressed heads"
    widgets = [Widget("map", {**picture, "title": title}), Widget("chart", chart)]
    return Step("It matters which", words, widgets)


def _cuts(record: Record) -> Step:
    found = record["accuracy"]
    at, fails = _own_cut(record), found["cuts"].index(record["breaks"])
    words = [
        "Where does it end? The line shows the share of right answers as more and more heads are "
        "compressed, always those with the lowest rank first.",
        f"Up to {percent(found['cuts'][fails - 1])} at least 90 % of the answers stay right"
        f"{_whole(found, at)}. At {percent(record['breaks'])} it is "
        f"{percent(found['learned'][fails])}; with all heads compressed "
        f"{percent(found['learned'][-1])}.",
        f"Random heads fall much earlier: {percent(found['random'][1])} at "
        f"{percent(found['cuts'][1])}.",
    ]
    return Step("How far the cut can go", words, [Widget("chart", _cut_chart(record))])


def _whole(found: Record, at: int) -> str:
    """What there is to add about the mask's own cut."""
    same = found["learned"][at] >= found["learned"][0]
    return f", at {percent(found['cuts'][at])} as many as with the full cache" if same else ""


def _cut_chart(record: Record) -> Value:
    found = record["accuracy"]
    roles = {"learned": "full", "random": "soft", "opposite": "ink"}
    return lines_value(
        f"Right answers of {found['n']}, by sparsity",
        [
            line(name, role, list(zip(found["cuts"], found[name], strict=True)))  # type: ignore[arg-type]
            for name, role in roles.items()
        ],
        x="sparsity",
        x_unit="%",
        unit="%",
        range=(0, 1),
        dots=True,
        height=230,
        marker=(found["cuts"][_own_cut(record)], "this mask"),
    )


def _breaks(record: Record) -> Step:
    at, share = record["first_change"], percent(record["breaks"])
    (was, p_was), (now, p_now) = record["likeliest"][at]
    value = kl_tokens(
        f"The full model's answer, read with {share} of the heads compressed",
        record["before"]["pieces"],
        record["kl"],
        before=[(b[0], b[1]) for b, _ in record["likeliest"]],
        after=[(a[0], a[1]) for _, a in record["likeliest"]],
        first_changed=at,
        name="too-far",
    )
    words = [
        f"This is how it looks when the cut goes too far. At {share} the answer to "
        f"{quoted(record['prompt'])} is {verdict(record['after']['right'])}.",
        f"It starts with token {at + 1}: instead of {quoted(was)} ({percent(p_was)}) the "
        f"compressed model would write {quoted(now)} ({percent(p_now)}).",
        'Try it yourself: <a href="./heads">move the cut</a> and <a href="./chat">ask both models'
        "</a>.",
    ]
    return Step("One step too far", words, [Widget("tokens", value)])


def _own_cut(record: Record) -> int:
    """Index of the recorded cut at which the mask itself is cut."""
    cuts: list[float] = record["accuracy"]["cuts"]
    sparsity = 1.0 - float(kept_of(record).mean())
    return min(range(len(cuts)), key=lambda i: abs(cuts[i] - sparsity))
