"""The table of engram.paper.reproduction as the report shows it."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from engram.conventions import AS_PUBLISHED_AND_CORRECTED
from engram.paper.reproduction import NOT_COMPARABLE, NOT_PRINTED


def by_experiment(path: str | Path) -> list[dict[str, Any]]:
    """One entry for each experiment of reproduction.csv: numbers and claims apart, what forbids a comparison said once."""
    rows = pd.read_csv(path)
    return [_entry(*names, part) for names, part in rows.groupby(["experiment", "ours"], sort=False)]


def _entry(name: str, ours: str, rows: pd.DataFrame) -> dict[str, Any]:
    is_claim = rows["unit"] == "claim"
    differences = rows["verdict"][rows["verdict"].str.startswith(NOT_COMPARABLE)].str.removeprefix(NOT_COMPARABLE)
    return {
        "name": name,
        "ours": ours,
        "epoch": rows["epoch"].iloc[0],
        "differences": next(iter(differences), ""),
        "numbers": [_number(row) for row in rows[~is_claim].to_dict("records")],
        "claims": rows[is_claim].to_dict("records"),
    }


def _number(row: dict[str, Any]) -> dict[str, Any]:
    """A number's row: printed value, and per column value and interval, as text; empty where undefined or not printed."""
    cells = {column: _text(row[column]) for column in ("published", *AS_PUBLISHED_AND_CORRECTED)}
    for column in AS_PUBLISHED_AND_CORRECTED:
        ends = [_text(row[f"{column}{end}"]) for end in ("_low", "_high")]
        cells[f"{column}_interval"] = f"[{', '.join(ends)}]" if all(ends) else ""
    unit = "" if row["unit"] in ("nats", "1", "images") else f", {row['unit']}"
    verdicts = {
        column: "" if row["verdict"] == NOT_PRINTED else row[column] for column in ("verdict", "verdict_corrected")
    }
    return cells | verdicts | {"quantity": row["quantity"] + unit}


def _text(value: float | str) -> str:
    """Four significant digits, from 1,000 on none after the point. Columns that hold claims, too, are read as text."""
    number = float(value)
    if math.isnan(number):
        return ""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
