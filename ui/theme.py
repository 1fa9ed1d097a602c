"""The visual identity: type, surfaces and controls. Knows no page.

Two colours carry meaning everywhere and are used for nothing else: blue is a full KV cache,
orange a compressed one (the pair stays apart for all common colour-vision deficiencies).
Controls are therefore ink on paper, never blue. The fonts come with Gradio's wheel, so no
font is ever fetched from elsewhere; the rest of the look is in `static/style.css`.
"""

from __future__ import annotations

from gradio.themes.base import Base
from gradio.themes.utils import colors, fonts, sizes

FULL = "#2563c9"
"""A full KV cache; a gate of 1."""
COMPRESSED = "#e07a1a"
"""Sinks and recent tokens only; a gate of 0."""

SURFACES = {
    "body_background_fill": "#f6f5f1",
    "body_background_fill_dark": "#0e1116",
    "background_fill_primary": "#ffffff",
    "background_fill_primary_dark": "#161a21",
    "background_fill_secondary": "#f1f0eb",
    "background_fill_secondary_dark": "#1c212a",
    "body_text_color": "#171a20",
    "body_text_color_dark": "#e7e9ee",
    "body_text_color_subdued": "#5a616e",
    "body_text_color_subdued_dark": "#9aa3b2",
    "border_color_primary": "#dedcd4",
    "border_color_primary_dark": "#2a303b",
    "border_color_accent": "#171a20",
    "border_color_accent_dark": "#e7e9ee",
    "block_background_fill": "*background_fill_primary",
    "block_background_fill_dark": "*background_fill_primary",
    "block_border_width": "0px",
    "block_shadow": "none",
    "block_padding": "0px",
    "block_label_background_fill": "transparent",
    "block_label_background_fill_dark": "transparent",
    "block_label_border_width": "0px",
    "block_title_text_weight": "600",
    "block_title_text_size": "13px",
    "block_title_text_color": "*body_text_color",
    "block_info_text_color": "*body_text_color_subdued",
    "block_info_text_size": "13px",
    "panel_background_fill": "transparent",
    "panel_border_width": "0px",
    "layout_gap": "16px",
    "form_gap_width": "0px",
    "link_text_color": "*body_text_color",
    "link_text_color_dark": "*body_text_color",
    "color_accent": "#171a20",
    "color_accent_soft": "#ecebe5",
    "color_accent_soft_dark": "#232935",
}

CONTROLS = {
    "slider_color": "#171a20",
    "slider_color_dark": "#e7e9ee",
    "input_background_fill": "#ffffff",
    "input_background_fill_dark": "#10141a",
    "input_border_color": "#cfccc2",
    "input_border_color_dark": "#363d4a",
    "input_border_color_focus": "#171a20",
    "input_border_color_focus_dark": "#e7e9ee",
    "input_border_width": "1px",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "input_padding": "9px 12px",
    "input_radius": "9px",
    "button_border_width": "1px",
    "button_transition": "background-color .12s, border-color .12s",
    "button_large_padding": "10px 18px",
    "button_large_text_size": "15px",
    "button_large_text_weight": "600",
    "button_small_text_size": "13px",
    "button_primary_background_fill": "#171a20",
    "button_primary_background_fill_dark": "#e7e9ee",
    "button_primary_background_fill_hover": "#363d4a",
    "button_primary_background_fill_hover_dark": "#ffffff",
    "button_primary_border_color": "#171a20",
    "button_primary_border_color_dark": "#e7e9ee",
    "button_primary_text_color": "#ffffff",
    "button_primary_text_color_dark": "#0e1116",
    "button_primary_shadow": "none",
    "button_secondary_background_fill": "*background_fill_primary",
    "button_secondary_background_fill_dark": "*background_fill_primary",
    "button_secondary_background_fill_hover": "*background_fill_secondary",
    "button_secondary_background_fill_hover_dark": "*background_fill_secondary",
    "button_secondary_border_color": "#bdb9ad",
    "button_secondary_border_color_dark": "#454d5c",
    "button_secondary_text_color": "*body_text_color",
    "button_secondary_text_color_dark": "*body_text_color",
    "button_secondary_shadow": "none",
    "checkbox_background_color_selected": "#171a20",
    "checkbox_background_color_selected_dark": "#5b6678",
    "loader_color": "#171a20",
    "loader_color_dark": "#e7e9ee",
}


class Studio(Base):
    """Ink on paper by day, paper on ink by night."""

    def __init__(self) -> None:
        super().__init__(
            primary_hue=colors.slate,
            secondary_hue=colors.slate,
            neutral_hue=colors.slate,
            spacing_size=sizes.spacing_md,
            radius_size=sizes.radius_md,
            text_size=sizes.text_md,
            # Weight 600 is left out: the wheel has it for a few letters only.
            font=[
                fonts.LocalFont("IBM Plex Sans", (400, 700)),
                "ui-sans-serif",
                "system-ui",
                "sans-serif",
            ],
            font_mono=[
                fonts.LocalFont("IBM Plex Mono", (400, 700)),
                "ui-monospace",
                "Menlo",
                "monospace",
            ],
        )
        self.name = "studio"
        # In one call: a second `set` would reset the page's fills to Gradio's own.
        self.set(**SURFACES, **CONTROLS)
