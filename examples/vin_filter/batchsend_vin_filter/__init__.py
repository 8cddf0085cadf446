"""A template filter for batchsend: `{{ vin | short_vin }}` prints the end of a VIN, as dealerships say it."""

from batchsend.errors import FilterProblem


def short_vin(text: str, separator: str = "") -> str:
    """`1HGCM82633A004352` -> `3A004352`; with the separator "-": `3A-004352`."""
    vin = text.replace(" ", "").upper()
    if len(vin) != 17:
        raise FilterProblem(f"`short_vin` needs a VIN of 17 characters, and the value has {len(vin)}")
    return f"{vin[-8:-6]}{separator}{vin[-6:]}"
