"""
The traps that implementers of MCP fall into: each has a number for good, and its test.

The name of a test says the number, `test_trap_83_unknown_tool`, and a module holds one
section. What has no test has its reason here.
"""

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

SECTIONS = {
    "test_messages": range(1, 25),
    "test_params": range(25, 39),
    "test_lifecycle": range(39, 56),
    "test_batches": range(56, 68),
    "test_cancellation": range(68, 83),
    "test_results": range(83, 105),
    "test_subscriptions": range(105, 121),
    "test_interaction": range(121, 135),
    "test_transport": range(135, 144),
}

WITHOUT_TEST = {
    131: "A task of somebody else. No tasks are offered, so that no id is anybody's.",
    139: "Results of listens before 1001, when the server stops. It closes its sockets "
    "itself, and tells the application afterwards: see tests/interop/test_binding.",
    142: "A header of Streamable HTTP, which is not served.",
    143: "A status of Streamable HTTP, which is not served.",
}


def find_numbers(source: str) -> list[int]:
    """Return the number of every test of a trap."""
    return [
        int(node.name.split("_")[2])
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_trap_")
    ]


def find_faults(sources: Mapping[str, str], reasons: Mapping[int, str]) -> list[str]:
    """Find traps without test and reason, or with both, or in a strange section."""
    faults = []
    for module, numbers in SECTIONS.items():
        found = set(find_numbers(sources.get(module, "")))
        for number in sorted(found.symmetric_difference(numbers)):
            if number not in numbers:
                faults.append(f"{number} does not belong into {module}")
            elif number not in reasons:
                faults.append(f"{number} has neither test nor reason")
        faults += [f"{number} has both" for number in sorted(found & reasons.keys())]
    for module in sources.keys() - SECTIONS.keys():
        faults += [
            f"{number} is in no section" for number in find_numbers(sources[module])
        ]
    return faults


def test_every_trap_has_its_test_or_its_reason() -> None:
    sources = {path.stem: path.read_text("utf-8") for path in HERE.glob("*.py")}

    assert find_faults(sources, WITHOUT_TEST) == []


@pytest.fixture
def complete() -> dict[str, str]:
    return {
        module: "".join(f"async def test_trap_{n:02}_x(): ...\n" for n in numbers)
        for module, numbers in SECTIONS.items()
    }


def test_sections_follow_each_other(complete: dict[str, str]) -> None:
    numbers = [number for numbers in SECTIONS.values() for number in numbers]

    assert numbers == list(range(1, 144))
    assert find_faults(complete, {}) == []


def test_fault_is_found(complete: dict[str, str]) -> None:
    complete["test_params"] = complete["test_params"].replace("_trap_38_", "_trap_39_")
    complete["test_other"] = "def test_trap_07_x(): ..."

    assert find_faults(complete, {1: "Because."}) == [
        "1 has both",
        "38 has neither test nor reason",
        "39 does not belong into test_params",
        "7 is in no section",
    ]


def test_reason_stands_for_a_test(complete: dict[str, str]) -> None:
    del complete["test_transport"]
    reasons = dict.fromkeys(SECTIONS["test_transport"], "Because.")

    assert find_faults(complete, reasons) == []
    assert len(find_faults(complete, {})) == len(reasons)
