"""Request and answer bodies: JSON, JSON Lines and CSV, to typed records and from predictions."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from types import GenericAlias
from typing import Any, NamedTuple

import msgspec

from .. import contract
from ..project import Project

LISTED = 100
SHOWN = 80
_SLICE = 1000  # rows of CSV that are held as texts
_BROKEN_BODY = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Violation(msgspec.Struct):
    """One broken rule: the record's position from 0, the field, the value got and the rule."""

    record: int
    field: str
    value: str | int | float | bool | None
    rule: str


class Problem(msgspec.Struct):
    """The one form of an error answer."""

    error: str
    violations: list[Violation] = []


class RequestError(Exception):
    """A request that is refused; as text, the line for the log, which holds no value of a record.

    Parameters
    ----------
    status : int
        HTTP status.
    error : str
        What was got and what is expected, without values.
    violations : sequence of Violation
    fields : collection of str
        Names of the contract's fields: the log shows no other, which may hold a value.
    """

    def __init__(
        self,
        status: int,
        error: str,
        violations: Sequence[Violation] = (),
        fields: Collection[str] = (),
    ) -> None:
        rules = Counter(
            f"{each.field if each.field in fields else 'another field'} {each.rule}"
            for each in violations
        )
        super().__init__("; ".join([error, *(f"{rule}: {count}" for rule, count in rules.items())]))
        self.status = status
        self.problem = Problem(error, list(violations))


# From the predictions of all records, the body of the answer.
Write = Callable[[list[Any]], bytes]


class Format(NamedTuple):
    """How a body is read, which also says how its answer is written."""

    read: Callable[[bytes], tuple[list[Any], Write]]
    content_type: bytes


_encoder = msgspec.json.Encoder()


class Formats:
    """The forms of a body, for the records and the answers of one project.

    Parameters
    ----------
    project : Project

    Attributes
    ----------
    inputs : list of Column
        The fields of a record, in their order.
    record, instances, predictions : type
        The msgspec types of a record, of a JSON request, and of the answer to one.
    accepted : dict of bytes to Format
        By content type.

    Examples
    --------
    With a `project` and a `record`:

    >>> import msgspec
    >>> from ml_ready.serving.formats import Formats
    >>> body = msgspec.json.encode({"instances": [record]})
    >>> records, write = Formats(project).read_json(body)
    >>> records[0].depot
    'west'
    >>> write([{"probability": 0.25, "label": 0}])
    b'{"predictions":[{"probability":0.25,"label":0}]}'
    """

    def __init__(self, project: Project) -> None:
        self.inputs = project.inputs
        self._columns = project.columns
        self._fields = {column.name for column in project.columns}
        self._names = [column.name for column in project.inputs]
        self.record: Any = contract.record_type(project.columns)
        self._records: Any = GenericAlias(list, self.record)
        self.instances: Any = msgspec.defstruct(
            "Instances",
            [("instances", self._records)],
            namespace={"__doc__": "A JSON request."},
            forbid_unknown_fields=True,
        )
        self.predictions: Any = msgspec.defstruct(
            "Predictions",
            [("predictions", GenericAlias(list, project.task.answer_type))],
            namespace={"__doc__": "The answer to one."},
        )
        self._request: Any = msgspec.json.Decoder(self.instances)
        self._line = msgspec.json.Decoder(self.record)
        self.accepted = {
            b"application/json": Format(self.read_json, b"application/json"),
            b"application/jsonlines": Format(self.read_jsonlines, b"application/jsonlines"),
            b"application/x-jsonlines": Format(self.read_jsonlines, b"application/jsonlines"),
            b"text/csv": Format(self.read_csv, b"text/csv"),
        }

    def read_json(self, body: bytes) -> tuple[list[Any], Write]:
        """Read `{"instances": [record, …]}`; the answer is `{"predictions": [prediction, …]}`.

        Parameters
        ----------
        body : bytes

        Returns
        -------
        records : list
            Of the type `record`, at least one.
        write : Write
            Writes the answer.

        Raises
        ------
        RequestError
            400 for a body of another shape, 422 for records that break the contract.
        """
        try:
            return _some(self._request.decode(body).instances), self._write_json
        except _BROKEN_BODY:
            document = _parsed(body, "the body")
        if not isinstance(document, dict) or set(document) != {"instances"}:
            raise RequestError(400, 'the body is not an object with the one field "instances"')
        if not isinstance(document["instances"], list):
            raise RequestError(400, '"instances" is not an array of records')
        raise self._explained(document["instances"])

    def read_jsonlines(self, body: bytes) -> tuple[list[Any], Write]:
        """Read one record a line; the answer has one prediction a line.

        Parameters
        ----------
        body : bytes

        Returns
        -------
        records : list
            Of the type `record`, at least one.
        write : Write
            Writes the answer.

        Raises
        ------
        RequestError
            400 for a line that is not an object, 422 for records that break the contract.
        """
        try:
            return _some(self._line.decode_lines(body)), _encoder.encode_lines
        except _BROKEN_BODY:
            numbered = enumerate(io.BytesIO(body), 1)
            lines = ((number, line) for number, line in numbered if line.strip())
            parsed = (_parsed(line, f"line {number}") for number, line in lines)
            raise self._explained(parsed) from None

    def read_csv(self, body: bytes) -> tuple[list[Any], Write]:
        """Read RFC 4180 text, an empty cell being a missing value.

        The first line may name the columns, in any order; without it they come in the order of the
        contract. The answer has a header where the request has one, so that lines stay side by
        side.

        Parameters
        ----------
        body : bytes
            In UTF-8, with or without a byte order mark.

        Returns
        -------
        records : list
            Of the type `record`, at least one.
        write : Write
            Writes the answer.

        Raises
        ------
        RequestError
            400 for text that is not CSV or has lines of different length, 422 for records that
            break the contract.
        """
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise RequestError(400, f"the body is not UTF-8 (byte {error.start})") from error
        first = next(_rows(text), (0, []))[1]
        header = not self._fields.isdisjoint(first)
        names = first if header else self._names
        if len(set(names)) < len(names):
            raise RequestError(400, "the header names a column twice")
        typed: list[Any] = []
        records = _records(text, names, header=header)
        try:
            while part := list(islice(records, _SLICE)):
                typed += msgspec.convert(part, self._records, strict=False)
        except msgspec.ValidationError:
            raise self._explained(_records(text, names, header=header), strict=False) from None
        return _some(typed), _write_csv_with_header if header else _write_csv

    def _write_json(self, predictions: list[Any]) -> bytes:
        return _encoder.encode(self.predictions(predictions))

    def _explained(self, records: Iterable[Any], *, strict: bool = True) -> RequestError:
        # One at a time: a large body may hold millions.
        listed: list[Violation] = []
        broken = number = 0
        for index, record in enumerate(records):
            number += 1
            if not isinstance(record, dict):
                return RequestError(400, f"record {index} is not an object of fields and values")
            try:
                msgspec.convert(record, self.record, strict=strict)
            except msgspec.ValidationError:
                broken += 1
                if len(listed) <= LISTED:
                    violations = contract.violations(record, self._columns, strict=strict)
                    listed += [
                        Violation(index, _shown(field), _shown(value), rule)
                        for field, value, rule in violations
                    ]
        if not broken:
            return RequestError(400, "a field is given twice in one object")
        error = f"{broken} of {number} records break the contract"
        if len(listed) > LISTED:
            error += f", the first {LISTED} violations are listed"
        return RequestError(422, error, listed[:LISTED], self._fields)


def encode(problem: Problem) -> bytes:
    """Return the body of an error answer.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    bytes
        JSON.
    """
    return _encoder.encode(problem)


def _records(text: str, names: Sequence[str], *, header: bool) -> Iterator[dict[str, str | None]]:
    for number, row in islice(_rows(text), int(header), None):
        if len(row) != len(names):
            raise RequestError(400, f"line {number} has {len(row)} cells, expected {len(names)}")
        yield dict(zip(names, (cell or None for cell in row), strict=True))


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise RequestError(400, f"line {reader.line_num} is not CSV: {error}") from error


def _write_csv(predictions: list[Any], *, header: bool = False) -> bytes:
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    if header:
        writer.writerow(predictions[0])
    writer.writerows(each.values() for each in predictions)
    return table.getvalue().encode()


_write_csv_with_header = partial(_write_csv, header=True)


def _some(records: list[Any]) -> list[Any]:
    if not records:
        raise RequestError(400, "there is no record, expected at least one")
    return records


def _parsed(text: bytes, where: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except _BROKEN_BODY as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RequestError(400, f"{where} is not JSON: {reason}") from error


def _shown(value: Any) -> Any:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    if value is None or isinstance(value, bool | float):
        return value
    text = str(value)
    return value if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"
