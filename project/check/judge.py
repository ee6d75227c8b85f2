"""Who says whether what was seen is what was claimed."""

from project.peer import CheckFailed, shorten

__all__ = ["Judge", "heading"]


class Judge:
    """Keeps count of what was proved, and says so."""

    def __init__(self) -> None:
        self.proved = 0

    def expect(self, condition: object, claim: str, seen: object = None) -> None:
        """Print a claim that holds. Raise CheckFailed, with what was seen, if not."""
        if not condition:
            raise CheckFailed(f"Not so: {claim}. Seen: {shorten(seen, 2000)}")
        self.proved += 1
        print(f"   ok {claim}", flush=True)


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)
