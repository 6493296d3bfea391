"""Images that the router kept or sent, with what became of them."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from PIL import Image

#: Small images are enlarged to about this height, in whole multiples of their pixels.
SHOWN_PIXELS = 128


@dataclass(frozen=True, eq=False)
class Picture:
    """One input and its answers.

    Attributes:
        pixels: ``(H, W, C)`` uint8, C being 1 or 3.
        truth: Name of its class.
        base: What the base answers.
        final: What the hybrid answers.
        score: The router's score.
    """

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    truth: str
    base: str
    final: str
    score: float | None = None


@dataclass(frozen=True)
class Gallery:
    """Pictures in a row that wraps.

    Attributes:
        pictures: What is shown.
        caption: What they have in common.
    """

    pictures: Sequence[Picture]
    caption: str = ""

    def html(self) -> str:
        """Return the pictures for a page, each as an inline PNG."""
        cards = "".join(map(_card, self.pictures))
        caption = f'<p class="caption">{escape(self.caption)}</p>' if self.caption else ""
        return f'<div class="gallery">{cards}</div>{caption}'


def _card(picture: Picture) -> str:
    score = "" if picture.score is None else f"<dt>score</dt><dd>{picture.score:.2f}</dd>"
    return (
        f'<figure class="picture"><img src="{png_uri(picture.pixels)}" '
        f'alt="{escape(picture.truth)}" loading="lazy"><dl>'
        f"<dt>truth</dt><dd>{escape(picture.truth)}</dd>"
        f"<dt>base</dt>{_answer(picture.base, picture.truth)}"
        f"<dt>hybrid</dt>{_answer(picture.final, picture.truth)}{score}</dl></figure>"
    )


def _answer(answer: str, truth: str) -> str:
    right = answer == truth
    sign = "\N{CHECK MARK}" if right else "\N{MULTIPLICATION X}"
    return f'<dd class="{"right" if right else "wrong"}">{escape(answer)} {sign}</dd>'


def png_uri(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """Return an image ``(H, W, 1 or 3)`` uint8 as a data URI; small ones are enlarged."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    times = max(1, SHOWN_PIXELS // max(image.size))
    image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    target = io.BytesIO()
    image.save(target, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode()
