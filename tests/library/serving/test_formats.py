"""Request and answer bodies, one function at a time."""

import csv
import io
import random
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_ready import contract
from ml_ready.serving.formats import (
    LISTED,
    SHOWN,
    Formats,
    Problem,
    RequestError,
    Violation,
    _write_csv,
)
from synthetic import COLUMNS

INPUTS = [column.name for column in contract.inputs(COLUMNS)]
FIRST = INPUTS[0]
KINDS = ("application/json", "application/jsonlines", "application/x-jsonlines", "text/csv")
# Of each task: predictions, and the header and the lines of their CSV.
ANSWERS: dict[str, tuple[list[dict[str, float]], bytes, bytes]] = {
    "binary": (
        [{"probability": 0.25, "label": 0}, {"probability": 1e-09, "label": 1}],
        b"probability,label\r\n",
        b"0.25,0\r\n1e-09,1\r\n",
    ),
    "quantiles": (
        [{"q0.5": -3.25, "q0.9": 12.0}, {"q0.5": 1e-09, "q0.9": 40.5}],
        b"q0.5,q0.9\r\n",
        b"-3.25,12.0\r\n1e-09,40.5\r\n",
    ),
    "mean": ([{"mean": -3.25}, {"mean": 1e-09}], b"mean\r\n", b"-3.25\r\n1e-09\r\n"),
}
ANYTHING: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(["1", "-1", "0.5", "1e3", "nan", "inf", "null", "true", "AA", "AA\n"]),
    st.sampled_from(["2013-07-04T17:00:00", "2013-07-04 17:00", "2013-07-04T17:00:00Z"]),
    st.lists(st.integers(), max_size=2),
)
CHANGES = st.dictionaries(st.sampled_from([*INPUTS, "no_such_field", COLUMNS[-1].name]), ANYTHING)
LATER = [column.name for column in COLUMNS if not column.known_at_prediction]


def text(names: list[str], rows: list[dict[str, Any]], *, header: bool) -> bytes:
    """Write rows as CSV, a missing value being an empty cell."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, names, extrasaction="ignore")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def typed(formats: Formats, rows: list[dict[str, Any]]) -> list[Any]:
    """Return rows as records."""
    return [msgspec.convert(row, formats.record) for row in rows]


def refusal(
    formats: Formats, body: bytes, content_type: str = "application/json"
) -> RequestError | None:
    """Return why a body is refused, or None where it is read."""
    try:
        formats.accepted[content_type.encode()].read(body)
    except RequestError as error:
        return error
    return None


def refused(formats: Formats, body: bytes, content_type: str = "application/json") -> RequestError:
    """Return why a body is refused."""
    error = refusal(formats, body, content_type)
    assert error is not None
    return error


def fields(error: RequestError | None) -> list[str]:
    """Return the fields that a refusal names."""
    return [] if error is None else [each.field for each in error.problem.violations]


def test_json_instances_are_read_as_records(formats: Formats, rows: list[dict[str, Any]]) -> None:
    assert formats.read_json(msgspec.json.encode({"instances": rows}))[0] == typed(formats, rows)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n"])
def test_json_lines_are_read_one_record_a_line(
    formats: Formats, rows: list[dict[str, Any]], end: bytes
) -> None:
    body = end.join(map(msgspec.json.encode, rows)) + end
    assert formats.read_jsonlines(body)[0] == typed(formats, rows)


def test_csv_without_a_header_has_the_columns_in_order(
    formats: Formats, rows: list[dict[str, Any]]
) -> None:
    assert formats.read_csv(text(INPUTS, rows, header=False))[0] == typed(formats, rows)


def test_csv_with_a_header_has_the_columns_in_any_order(
    formats: Formats, rows: list[dict[str, Any]]
) -> None:
    names = random.sample(INPUTS, len(INPUTS))
    assert formats.read_csv(text(names, rows, header=True))[0] == typed(formats, rows)


def test_csv_may_be_quoted_and_begin_with_a_byte_order_mark(
    formats: Formats, rows: list[dict[str, Any]]
) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([INPUTS, *(row.values() for row in rows)])
    assert formats.read_csv(stream.getvalue().encode("utf-8-sig"))[0] == typed(formats, rows)


def test_a_text_in_a_csv_answer_is_quoted_and_a_missing_value_is_an_empty_cell() -> None:
    predictions = [{"label": 'a "b", c', "share": 0.5}, {"label": None, "share": 1}]
    assert _write_csv(predictions) == b'"a ""b"", c",0.5\r\n,1\r\n'


@pytest.mark.parametrize("task", ANSWERS, indirect=True)
def test_answers_come_in_the_form_of_the_request(
    formats: Formats, task: str, rows: list[dict[str, Any]]
) -> None:
    predictions, header, lines = ANSWERS[task]
    as_json = formats.read_json(msgspec.json.encode({"instances": rows}))[1](predictions)
    assert msgspec.json.decode(as_json) == {"predictions": predictions}
    as_lines = formats.read_jsonlines(msgspec.json.encode(rows[0]))[1](predictions)
    assert [msgspec.json.decode(line) for line in as_lines.splitlines()] == predictions
    without = formats.read_csv(text(INPUTS, rows, header=False))[1](predictions)
    assert without == lines
    with_header = formats.read_csv(text(INPUTS, rows, header=True))[1](predictions)
    assert with_header == header + lines


def test_a_field_whose_name_holds_a_comma_is_one_cell_of_the_header(
    formats: Formats, rows: list[dict[str, Any]]
) -> None:
    write = formats.read_csv(text(INPUTS, rows, header=True))[1]
    assert write([{"from 1,000": 0.5}]) == b'"from 1,000"\r\n0.5\r\n'


def test_the_content_types_are_those_of_sagemaker(formats: Formats) -> None:
    assert tuple(name.decode() for name in formats.accepted) == KINDS


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("application/json", b"", "the body is not JSON"),
        ("application/json", b'{"instances": [1,]}', r"\(byte 17\)"),
        ("application/json", b'{"instances": "\xff"}', "the body is not JSON"),
        ("application/json", b"[" * 100_000, "nested too deeply"),
        ("application/json", b"[]", 'one field "instances"'),
        ("application/json", b'{"instances": [], "more": 1}', 'one field "instances"'),
        ("application/json", b'{"instances": {}}', "not an array of records"),
        ("application/json", b'{"instances": [1]}', "record 0 is not an object"),
        ("application/json", b'{"instances": []}', "there is no record"),
        ("application/jsonlines", b"\n", "there is no record"),
        ("application/jsonlines", b"{}\n\n{\n", "line 3 is not JSON"),
        ("application/x-jsonlines", b"[]", "record 0 is not an object"),
        ("text/csv", b"", "there is no record"),
        ("text/csv", b"1,2\r\n", f"line 1 has 2 cells, expected {len(INPUTS)}"),
        ("text/csv", f"{FIRST},{FIRST}\r\n1,2\r\n".encode(), "names a column twice"),
        ("text/csv", f"{FIRST}\r\n1\r\n1,2\r\n".encode(), "line 3 has 2 cells, expected 1"),
        ("text/csv", f'{FIRST}\r\n"1\r\n'.encode(), "line 2 is not CSV"),
        ("text/csv", f"{FIRST}\r\n\xe9\r\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_a_malformed_body_says_where(
    formats: Formats, content_type: str, body: bytes, message: str
) -> None:
    error = refused(formats, body, content_type)
    assert re.search(message, str(error))
    assert error.status == 400
    assert error.problem.violations == []


@pytest.mark.parametrize("content_type", ["application/json", "application/jsonlines", "text/csv"])
def test_a_broken_rule_names_record_field_value_and_rule(
    formats: Formats, content_type: str, rows: list[dict[str, Any]]
) -> None:
    column = next(column for column in contract.inputs(COLUMNS) if column.dtype != "String")
    changed = [rows[0], rows[1] | {column.name: "dunno"}]
    bodies = {
        "application/json": msgspec.json.encode({"instances": changed}),
        "application/jsonlines": b"\n".join(map(msgspec.json.encode, changed)),
        "text/csv": text(INPUTS, changed, header=True),
    }
    error = refused(formats, bodies[content_type], content_type)
    assert error.status == 422
    assert error.problem == Problem(
        "1 of 2 records break the contract",
        [Violation(1, column.name, "dunno", column.rule)],
    )


def test_a_field_known_only_later_is_refused(formats: Formats, rows: list[dict[str, Any]]) -> None:
    for name in LATER:
        error = refused(formats, msgspec.json.encode({"instances": [rows[0] | {name: 1}]}))
        assert "is not known at prediction time" in error.problem.violations[0].rule


def test_a_field_given_twice_is_refused(formats: Formats, rows: list[dict[str, Any]]) -> None:
    record = msgspec.json.encode(rows[0])
    twice = b'{"%s": [], ' % FIRST.encode() + record[1:]
    assert "given twice" in str(refused(formats, twice, "application/jsonlines"))


def test_text_that_reads_as_not_a_number_is_refused(
    formats: Formats, rows: list[dict[str, Any]]
) -> None:
    numbers = [column.name for column in contract.inputs(COLUMNS) if "Float" in column.dtype]
    for name in numbers:
        for value in ("nan", "inf", "-inf", "Infinity", "1e999"):
            error = refused(
                formats, text(INPUTS, [rows[0] | {name: value}], header=False), "text/csv"
            )
            assert fields(error) == [name]


@pytest.mark.parametrize(("count", "capped"), [(LISTED, False), (LISTED + 1, True)])
def test_the_list_of_violations_is_capped_aloud(
    formats: Formats, rows: list[dict[str, Any]], count: int, capped: bool
) -> None:
    error = refused(
        formats, msgspec.json.encode({"instances": [rows[0] | {"no_such_field": 1}] * count})
    )
    assert len(error.problem.violations) == LISTED
    assert error.problem.error.startswith(f"{count} of {count} records break the contract")
    assert error.problem.error.endswith("the first 100 violations are listed") == capped


def test_long_values_are_shortened_and_nested_ones_named(
    formats: Formats, rows: list[dict[str, Any]]
) -> None:
    for value, shown in [
        ("x" * 500, "x" * SHOWN + "… (500 characters)"),
        ([1], "an array"),
        ({"a": 1}, "an object"),
    ]:
        error = refused(
            formats, msgspec.json.encode({"instances": [rows[0] | {"no_such_field": value}]})
        )
        assert [each.value for each in error.problem.violations] == [shown]


def test_the_log_line_holds_rules_but_no_values(
    formats: Formats, rows: list[dict[str, Any]]
) -> None:
    changed = rows[0] | {FIRST: ["ada@example.com"], "ada@example.com": "ada@example.com"}
    error = refused(formats, msgspec.json.encode({"instances": [changed]}))
    assert "ada" not in str(error)
    assert f"{FIRST} must be" in str(error)
    assert "another field" in str(error)


@settings(deadline=None, max_examples=150)
@given(changes=CHANGES)
def test_reading_and_explaining_agree_on_json(
    formats: Formats, rows: list[dict[str, Any]], changes: dict[str, Any]
) -> None:
    row = rows[0] | changes
    broken = contract.violations(row, COLUMNS)
    error = refusal(formats, msgspec.json.encode({"instances": [row]}))
    assert fields(error) == [each.field for each in broken]
    assert (error is None) == (not broken)


@settings(deadline=None, max_examples=150)
@given(changes=st.dictionaries(st.sampled_from(INPUTS), ANYTHING))
def test_reading_and_explaining_agree_on_csv(
    formats: Formats, rows: list[dict[str, Any]], changes: dict[str, Any]
) -> None:
    row = {name: str(value) for name, value in (rows[0] | changes).items() if value is not None}
    broken = contract.violations(
        {name: row.get(name) or None for name in INPUTS}, COLUMNS, strict=False
    )
    error = refusal(formats, text(INPUTS, [row], header=True), "text/csv")
    assert fields(error) == [each.field for each in broken]
    assert (error is None) == (not broken)


@settings(deadline=None, max_examples=150)
@given(
    content_type=st.sampled_from(KINDS),
    start=st.sampled_from([b"", b'{"instances": [{"', FIRST.encode() + b"\r\n", b'"', b"{}\n"]),
    body=st.binary(),
)
def test_any_bytes_are_read_or_refused(
    formats: Formats, content_type: str, start: bytes, body: bytes
) -> None:
    error = refusal(formats, start + body, content_type)
    assert error is None or error.status in (400, 422)
    assert "\n" not in str(error)
