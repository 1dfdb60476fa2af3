"""acme's side of the demo: real files, and the same figures computed again without the plane, in plain Python.

The files come out of the PyPI package vega-datasets (`vega_datasets/_data`). No SQL, no Arrow: `csv`, `decimal`.
"""

import csv
import hashlib
import importlib.util
import math
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

FILES = ("seattle-weather", "seattle-temps", "sf-temps", "airports")
EARTH_KM = 12742

MONTHS_SQL = """
SELECT month(CAST(seattle.date AS TIMESTAMP)) AS month, count(*) AS hours,
       count(*) FILTER (WHERE seattle.temp > sf.temp) AS seattle_warmer
  FROM seattle JOIN sf ON CAST(seattle.date AS TIMESTAMP) = CAST(sf.date AS TIMESTAMP)
 GROUP BY ALL ORDER BY month
"""
# Eleven million distances: enough to be killed in the middle of.
NEAREST_SQL = """
WITH place AS (SELECT iata, radians(latitude) AS lat, radians(longitude) AS lon FROM airports),
pair AS (
    SELECT a.iata AS airport, b.iata AS other, pow(sin((b.lat - a.lat) / 2), 2)
           + cos(a.lat) * cos(b.lat) * pow(sin((b.lon - a.lon) / 2), 2) AS h
      FROM place a JOIN place b ON a.iata <> b.iata
)
SELECT airport, arg_min(other, h) AS nearest, round(min(12742 * asin(sqrt(h))), 1) AS km
  FROM pair GROUP BY airport ORDER BY airport
"""


class Rain(NamedTuple):
    """A year's rain: days with precipitation, and its sum in millimetres."""

    rainy_days: int
    precipitation_mm: Decimal


class Hours(NamedTuple):
    """A month's hours that both cities measured, and those in which Seattle was warmer."""

    hours: int
    seattle_warmer: int


def source() -> Path:
    """Return the folder of vega-datasets' files, without importing what the package drags in."""
    spec = importlib.util.find_spec("vega_datasets")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package vega-datasets is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "_data"


def land(*, storage: Path) -> list[str]:
    """Copy the files into a tenant's storage, as its own module would; return their paths there."""
    incoming = storage / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(source() / f"{name}.csv", incoming / f"{name}.csv")
    return [f"incoming/{name}.csv" for name in FILES]


def rows(name: str) -> list[dict[str, str]]:
    """Return the file `name` as it reads."""
    with (source() / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rain() -> dict[int, Rain]:
    """Return Seattle's rain by year; a year's sum to a tenth, as the contract says."""
    days: Counter[int] = Counter()
    sums: defaultdict[int, Decimal] = defaultdict(Decimal)
    for row in rows("seattle-weather"):
        year, fallen = int(row["date"][:4]), Decimal(row["precipitation"])
        days[year] += fallen > 0
        sums[year] += fallen
    return {year: Rain(days[year], sums[year].quantize(Decimal("0.1"), ROUND_HALF_UP)) for year in sorted(sums)}


def warmer_hours() -> dict[int, Hours]:
    """Return by month of 2010 the hours both cities measured and those in which Seattle was the warmer."""
    sf: defaultdict[str, list[Decimal]] = defaultdict(list)
    for row in rows("sf-temps"):
        sf[row["date"].removesuffix(":00")].append(Decimal(row["temp"]))  # one file writes seconds, the other does not
    hours: Counter[int] = Counter()
    warmer: Counter[int] = Counter()
    for row in rows("seattle-temps"):
        for temperature in sf.get(row["date"], []):
            month = int(row["date"][5:7])
            hours[month] += 1
            warmer[month] += Decimal(row["temp"]) > temperature
    return {month: Hours(hours[month], warmer[month]) for month in sorted(hours)}


def nearest(airports: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Return for each of `airports` its nearest other airport and how far that is, in kilometres."""
    places = {
        row["iata"]: (math.radians(float(row["latitude"])), math.radians(float(row["longitude"])))
        for row in rows("airports")
    }
    found = {}
    for airport in airports:
        distances = ((_km(places[airport], place), other) for other, place in places.items() if other != airport)
        km, other = min(distances)
        found[airport] = (other, round(km, 1))
    return found


def _km(one: tuple[float, float], other: tuple[float, float]) -> float:
    half = math.sin((other[0] - one[0]) / 2) ** 2
    half += math.cos(one[0]) * math.cos(other[0]) * math.sin((other[1] - one[1]) / 2) ** 2
    return EARTH_KM * math.asin(math.sqrt(half))


def result(job: Mapping[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    """Return the rows of the Parquet file a job made, and whether its digest is the one that the plane keeps."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy, and needed only once there is a result

    (artifact,) = job["result"]["artifacts"]
    path = Path(unquote(urlsplit(artifact["uri"]).path))
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    return pq.read_table(path).to_pylist(), digest == artifact["digest"]
