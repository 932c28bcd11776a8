from pathlib import Path
from random import Random
from typing import Any, Literal, Self

import pytest
from pydantic import Field, ValidationError, model_validator

from mtnat.config import Document, Record, build, leaf_types, nearest, read_value, read_yaml, replace, to_yaml, write_yaml
from mtnat.errors import ConfigError, UserError
from mtnat.model.config import ModelConfig
from mtnat.objective.config import ObjectiveConfig

SCHEDULES: list[dict[str, Any]] = [
    {"kind": "constant", "value": 0.25},
    {"kind": "linear", "start": 0.1, "end": 0.9},
    {"kind": "power", "exponent": 1e-3},
    {"kind": "cosine"},
    {"kind": "sigmoid", "steepness": 12.5, "midpoint": 0.7},
    {"kind": "exponential", "rate": -3.0},
    {"kind": "step", "threshold": 1 / 3},
    {"kind": "piecewise", "knots": [[0.0, 1.0], [0.5, 0.25]]},
]


class Part(Record):
    size: int = Field(4, ge=1)
    rate: float = 0.1
    name: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.size > 100:
            raise ValueError(f"size must not exceed 100; got {self.size}")
        if self.rate > self.size:
            raise ValueError(f"takes no rate above its size; got {self.rate} and {self.size}")
        return self


class Whole(Record):
    """A record with everything that a study file may hold: sub-records, optional ones, mappings, choices."""

    part: Part
    spare: Part | None = None
    named: dict[str, Part] = Field(default_factory=dict)
    objective: ObjectiveConfig = ObjectiveConfig()
    mode: Literal["fast", "exact"] = "fast"


def problems(data: object, where: str = "") -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        build(Whole, data, where)
    return caught.value.problems


def read(tmp_path: Path, text: str) -> Document:
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path)


def reading_problem(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    return str(caught.value).replace(str(tmp_path), "FOLDER")


class TestProblems:
    def test_every_problem_of_a_file_is_reported_at_once_with_path_rule_value_and_remedy(self) -> None:
        data = {
            "part": {"size": 0, "rate": "high", "nmae": "x"},
            "objctive": {},
            "objective": {"schedule": {"kind": "power", "exponnt": 2.0, "start": 2.0}},
            "mode": "slow",
        }
        assert set(problems(data)) == {
            "part.size: must be greater than or equal to 1; got 0.",
            "part.rate: must be a valid number; got 'high'.",
            "part.nmae is unknown; did you mean 'name'?",
            "objctive is unknown; did you mean 'objective'?",
            "objective.schedule.exponnt is unknown; did you mean 'exponent'?",
            "objective.schedule.start: must be less than or equal to 1; got 2.0.",
            "mode: must be 'fast' or 'exact'; got 'slow'.",
        }

    def test_a_prefix_precedes_every_path(self) -> None:
        assert problems({"part": {"size": 1.5}, "mode": 3}, "experiment") == (
            "experiment.part.size: must be a valid integer; got 1.5.",
            "experiment.mode: must be 'fast' or 'exact'; got 3.",
        )

    def test_an_unknown_name_without_a_similar_name_lists_the_known_names(self) -> None:
        assert problems({"part": {"zzz": 1}}) == ("part.zzz is unknown; known here: size, rate, name.",)

    def test_a_missing_setting_is_named(self) -> None:
        assert problems({}) == ("part is missing; add it.",)
        assert problems({"part": {}, "objective": {"schedule": {"kind": "piecewise"}}}) == (
            "objective.schedule.knots is missing; add it.",
        )

    def test_an_unknown_or_missing_kind_is_reported(self) -> None:
        def of(schedule: object) -> tuple[str, ...]:
            return problems({"part": {}, "objective": {"schedule": schedule}})

        kinds = "constant, linear, power, cosine, sigmoid, exponential, step, piecewise"
        assert of({"kind": "lineer"}) == ("objective.schedule.kind: 'lineer' is unknown; did you mean 'linear'?",)
        assert of({"kind": "zzz"}) == (f"objective.schedule.kind: 'zzz' is unknown; known here: {kinds}.",)
        assert of({"value": 1.0}) == ("objective.schedule: needs `kind: …`; got {'value': 1.0}.",)

    def test_a_violated_rule_is_reported_at_its_setting_without_the_kind_in_the_path(self) -> None:
        knots = {"kind": "piecewise", "knots": [[0.5, 0.0], [0.5, 1.0]]}
        assert problems({"part": {}, "objective": {"schedule": knots}}, "experiment") == (
            "experiment.objective.schedule.knots must rise in progress; got [0.5, 0.5].",
        )
        assert problems({"part": {"size": 101}}) == ("part.size must not exceed 100; got 101.",)
        assert problems({"part": {"rate": 5.0}}) == ("part: takes no rate above its size; got 5.0 and 4.",)

    def test_problems_inside_sequences_mappings_and_optional_records_have_full_paths(self) -> None:
        data = {"part": {}, "spare": {"sise": 2}, "named": {"a b": {"size": -1, "raet": 1.0}}}
        assert set(problems(data)) == {
            "spare.sise is unknown; did you mean 'size'?",
            "named.a b.size: must be greater than or equal to 1; got -1.",
            "named.a b.raet is unknown; did you mean 'rate'?",
        }
        knots = {"kind": "piecewise", "knots": [[0.0, "x"], [1.0]]}
        assert problems({"part": {}, "objective": {"schedule": knots}}) == (
            "objective.schedule.knots.0.1: must be a valid number; got 'x'.",
            "objective.schedule.knots.1.1 is missing; add it.",
        )

    @pytest.mark.parametrize("data", [None, "linear", [1, 2], 3])
    def test_a_value_that_is_not_a_mapping_is_reported(self, data: object) -> None:
        assert problems(data) == (f"the file: must be `name: value` lines; got {data!r}.",)
        assert problems({"part": data}) == (f"part: must be `name: value` lines; got {data!r}.",)

    def test_a_name_that_yaml_reads_as_another_type_is_reported(self) -> None:
        assert problems({"part": {True: 1}}) == ("part: a name must be text; got True; put it in quotes.",)

    def test_types_are_strict(self) -> None:
        assert problems({"part": {"size": True, "rate": "1.0", "name": 3}}) == (
            "part.size: must be a valid integer; got True.",
            "part.rate: must be a valid number; got '1.0'.",
            "part.name: must be a valid string; got 3.",
        )
        assert build(Part, {"rate": 1}).rate == 1.0

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_numbers_must_be_finite(self, number: float) -> None:
        assert problems({"part": {"rate": number}}) == (f"part.rate: must be a finite number; got {number}.",)

    def test_a_long_value_is_shortened(self) -> None:
        (problem,) = problems({"part": {"size": "x" * 1000}})
        assert problem == f"part.size: must be a valid integer; got '{'x' * 56}..."

    def test_a_problem_is_a_user_error_and_a_value_error(self) -> None:
        with pytest.raises(UserError, match="part is missing"):
            build(Whole, {})
        with pytest.raises(ValueError, match="part is missing"):
            build(Whole, {})


class TestReading:
    def test_numbers_are_read_as_in_yaml_1_2(self, tmp_path: Path) -> None:
        text = "a: 1e-3\nb: 5e-4\nc: 1.5E+3\nd: -2e5\ne: .5e1\nf: 1.\ng: 12\nh: 10_000\ni: 0.1\n"
        read_back = read(tmp_path, text)
        assert read_back == {
            "a": 0.001,
            "b": 0.0005,
            "c": 1500.0,
            "d": -200000.0,
            "e": 5.0,
            "f": 1.0,
            "g": 12,
            "h": 10_000,
            "i": 0.1,
        }
        assert [type(value) for value in read_back.values()] == [float] * 6 + [int] * 2 + [float]

    @pytest.mark.parametrize("text", ["1e3x", "e3", "1.5k", "12-3", "1e", "1.2e3.4"])
    def test_text_that_only_resembles_a_number_stays_text(self, tmp_path: Path, text: str) -> None:
        assert read(tmp_path, f"a: {text}\n") == {"a": text}

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("a: 1\nb: 2\na: 3\n", "FOLDER/file.yaml, line 3: is not valid YAML ('a' is given twice); correct that line."),
            ("a:\n  b: 1\n  b: 2\n", "FOLDER/file.yaml, line 3: is not valid YAML ('b' is given twice); correct that line."),
            ("? [1, 2]\n: 3\n", "FOLDER/file.yaml, line 1: is not valid YAML (a name must be plain text); correct that line."),
            ("a: 2020-13-45\n", "FOLDER/file.yaml, line 1: is not valid YAML (month must be in 1..12); correct that line."),
            ("- a\n", "FOLDER/file.yaml, line 1: must hold `name: value` lines; got ['a']; `mtnat new` writes a study file."),
            ("", "FOLDER/file.yaml, line 1: must hold `name: value` lines; got None; `mtnat new` writes a study file."),
        ],
    )
    def test_a_file_without_named_settings_is_reported(self, tmp_path: Path, text: str, problem: str) -> None:
        assert reading_problem(tmp_path, text) == problem

    @pytest.mark.parametrize("text", ["a: [1", "a: 'b", "a: !!python/name:os.system x\n", "a: \x00\n", "<<: 3\n", "\ta: 1"])
    def test_a_file_that_is_not_yaml_is_reported(self, tmp_path: Path, text: str) -> None:
        assert "is not valid YAML" in reading_problem(tmp_path, text)

    def test_an_unreadable_file_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no such file"):
            read_yaml(tmp_path / "absent.yaml")
        with pytest.raises(ConfigError, match="cannot be read"):
            read_yaml(tmp_path)
        (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\n")
        with pytest.raises(ConfigError, match="cannot be read"):
            read_yaml(tmp_path / "bytes.yaml")


class TestMergeKeys:
    def test_own_settings_of_a_mapping_override_merged_settings(self, tmp_path: Path) -> None:
        text = "a: &a {x: 1, y: 2}\nb: {y: 3, <<: *a}\nc:\n  <<: *a\n  x: 4\n"
        assert read(tmp_path, text) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 4, "y": 2}}

    def test_the_first_of_several_merged_mappings_takes_precedence(self, tmp_path: Path) -> None:
        text = "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}\nd: {<<: {z: 1}}\n"
        assert read(tmp_path, text) | {"a": 0, "b": 0} == {"a": 0, "b": 0, "c": {"x": 1, "y": 2}, "d": {"z": 1}}

    def test_a_merged_mapping_may_merge_another(self, tmp_path: Path) -> None:
        assert read(tmp_path, "a: &a {x: 1}\nb: &b {<<: *a}\nc: {<<: *b, y: 2}\n")["c"] == {"x": 1, "y": 2}

    def test_two_merge_keys_in_one_mapping_are_a_duplicate(self, tmp_path: Path) -> None:
        found = reading_problem(tmp_path, "a: &a {x: 1}\nb:\n  <<: *a\n  <<: {y: 1}\n")
        assert found == "FOLDER/file.yaml, line 4: is not valid YAML ('<<' is given twice); correct that line."

    def test_a_merged_setting_has_its_own_line(self, tmp_path: Path) -> None:
        data = read(tmp_path, "part: &p\n  size: 0\nspare:\n  <<: *p\n  sise: 1\n")
        with pytest.raises(ConfigError) as caught:
            build(Whole, data)
        assert [problem.partition(", ")[2] for problem in caught.value.problems] == [
            "line 2: part.size: must be greater than or equal to 1; got 0.",
            "line 2: spare.size: must be greater than or equal to 1; got 0.",
            "line 5: spare.sise is unknown; did you mean 'size'?",
        ]


BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)
CHAIN = "a0: &a0 [1]\n" + "".join(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 2_000))


class TestHostileText:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("a: &a [*a]\n", "line 1: is not valid YAML (it contains itself)"),
            ("b: 1\na: &a {<<: *a}\n", "line 2: is not valid YAML (it contains itself)"),
            (BOMB, "line 5: is not valid YAML (it holds more than 20,000 settings)"),
            (CHAIN, "line 50: is not valid YAML (it is nested deeper than 50 levels)"),
            (f"a: {'[' * 5_000}", "line 1: is not valid YAML (it is nested deeper than 50 levels)"),
            (f"a: {'{b: ' * 5_000}", "line 1: is not valid YAML (it is nested deeper than 50 levels)"),
            (f"a: 1\nb: {'9' * 4_300}\n", f"line 2: is not valid YAML ('{'9' * 56}... is too large: a whole number must be"),
            (f"a: 0x{'f' * 5_000}\n", f"line 1: is not valid YAML ('0x{'f' * 54}... is too large: a whole number must be"),
            (
                f"a: {2**63}\n",
                "line 1: is not valid YAML ('9223372036854775808' is too large: a whole number must be below 2^63)",
            ),
            ("a: -_\n", "line 1: is not valid YAML (invalid literal for int() with base 10: '')"),
            ('a: "x\\0"\n', "line 1: is not valid YAML ('x\\x00' holds a character that no text file can hold)"),
            ('a: "\\ud800"\n', "line 1: is not valid YAML ('\\ud800' holds a character that no text file can hold)"),
            ("a: 1\nb: \x01\n", "line 2: is not valid YAML (the character #x0001 is not allowed)"),
            ("a: !!set {b, c}\n", "line 1: is not valid YAML (the tag tag:yaml.org,2002:set is unknown)"),
            ("a: *nowhere\n", "line 1: is not valid YAML (found undefined alias 'nowhere')"),
            ("a: 1\n---\nb: 2\n", "line 2: is not valid YAML (but found another document)"),
            ("%YAML 9.9\n---\na: 1\n", "line 1: is not valid YAML (found incompatible YAML document"),
        ],
        ids=lambda value: value[:20],
    )
    def test_hostile_text_is_reported_in_a_sentence(self, tmp_path: Path, text: str, problem: str) -> None:
        assert reading_problem(tmp_path, text).startswith(f"FOLDER/file.yaml, {problem}")

    def test_an_endless_file_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="must not be longer than 262,144 characters"):
            read_yaml("/dev/zero")

    def test_a_path_with_a_nul_character_is_reported(self) -> None:
        with pytest.raises(ConfigError, match="cannot be read"):
            read_yaml("a\0b")

    def test_all_unreadable_values_are_reported_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            read(tmp_path, f"a: 1\na: 2\nb: 2020-13-45\nc: {'9' * 4_300}\n")
        assert [problem.split(": ")[0].split(", ")[1] for problem in caught.value.problems] == ["line 2", "line 3", "line 4"]

    @pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "1e999"])
    def test_a_number_that_is_not_finite_is_reported(self, tmp_path: Path, number: str) -> None:
        with pytest.raises(ConfigError, match=r"line 1: part\.rate: must be a finite number; got"):
            build(Whole, read(tmp_path, f"part: {{rate: {number}}}\n"))

    def test_an_anchor_name_may_be_reused(self, tmp_path: Path) -> None:
        assert read(tmp_path, "a: &x 1\nb: &x 2\nc: *x\n") == {"a": 1, "b": 2, "c": 2}


class TestLines:
    def located(self, tmp_path: Path, text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            build(Whole, read(tmp_path, text))
        return [problem.removeprefix(f"{tmp_path}/file.yaml, line ") for problem in caught.value.problems]

    def test_each_problem_of_a_file_has_its_line(self, tmp_path: Path) -> None:
        text = """\
# first comes a comment
part:
  size: 0
  rate: high
  nmae: x
objctive: {}
named:
  "a.b: c":
    size: -1
  3: {}
objective:
  schedule: {kind: piecewise, knots: [
    [0.0, x],
    [1.0]]}
mode: slow
"""
        assert self.located(tmp_path, text) == [
            "3: part.size: must be greater than or equal to 1; got 0.",
            "4: part.rate: must be a valid number; got 'high'.",
            "5: part.nmae is unknown; did you mean 'name'?",
            "9: named.a.b: c.size: must be greater than or equal to 1; got -1.",
            "10: named: a name must be text; got 3; put it in quotes.",
            "13: objective.schedule.knots.0.1: must be a valid number; got 'x'.",
            "14: objective.schedule.knots.1.1 is missing; add it.",
            "15: mode: must be 'fast' or 'exact'; got 'slow'.",
            "6: objctive is unknown; did you mean 'objective'?",
        ]

    def test_a_missing_setting_has_the_line_of_its_mapping(self, tmp_path: Path) -> None:
        assert self.located(tmp_path, "\nmode: fast\n") == ["2: part is missing; add it."]
        text = "mode: fast\npart: {}\nobjective:\n  schedule:\n    kind: piecewise\n"
        assert self.located(tmp_path, text) == ["4: objective.schedule.knots is missing; add it."]

    def test_an_unknown_kind_has_its_line(self, tmp_path: Path) -> None:
        text = "part: {}\nobjective:\n  schedule:\n    kind: lineer\n"
        assert self.located(tmp_path, text) == ["4: objective.schedule.kind: 'lineer' is unknown; did you mean 'linear'?"]
        text = "part: {}\nobjective:\n  schedule:\n    value: 1.0\n"
        assert self.located(tmp_path, text) == ["3: objective.schedule: needs `kind: …`; got {'value': 1.0}."]

    def test_a_violated_rule_has_the_line_of_the_setting_in_its_message(self, tmp_path: Path) -> None:
        assert self.located(tmp_path, "part:\n  rate: 1.0\n  size: 101\n") == ["3: part.size must not exceed 100; got 101."]
        assert self.located(tmp_path, "part:\n  rate: 5.0\n") == ["1: part: takes no rate above its size; got 5.0 and 4."]

    def test_a_name_that_is_not_text_has_its_line(self, tmp_path: Path) -> None:
        assert self.located(tmp_path, "part:\n  true: 1\n  1.5: 2\n") == [
            "2: part: a name must be text; got True; put it in quotes.",
            "3: part: a name must be text; got 1.5; put it in quotes.",
        ]

    @pytest.mark.parametrize(
        ("sentence", "line"),
        [
            ("named.a.b.size: must be 1.", 4),
            ("named.a.b: part.size: must be 1.", 5),
            ("named.a.b.part.size = 3: must be 1.", 5),
            ("named.a.c: is unknown.", 6),
            ("named.a is unknown.", 2),
            ("named: is short.", 2),
            ("nothing: is missing.", 1),
            ("", 1),
        ],
    )
    def test_a_sentence_gets_the_line_of_the_path_at_its_beginning(self, tmp_path: Path, sentence: str, line: int) -> None:
        document = read(tmp_path, "mode: fast\nnamed:\n  a.b:\n    size: 1\n    part.size: 1\n  a.c: {}\n")
        assert document.told(sentence) == f"{tmp_path}/file.yaml, line {line}: {sentence}"

    def test_a_sentence_with_a_relative_path_gets_its_line_from_the_first_matching_base(self, tmp_path: Path) -> None:
        document = read(tmp_path, "experiment:\n  seed: 1\n  size: 1\ncolumns:\n  a:\n    seed: 2\n")
        bases = (("columns", "a"), ("experiment",))
        assert document.told("seed: is odd.", bases) == f"{tmp_path}/file.yaml, line 6: seed: is odd."
        assert document.told("size: is odd.", bases) == f"{tmp_path}/file.yaml, line 3: size: is odd."


NASTY = [
    *("", " ", "~", "=", "<<", "-", "?", ":", "#", "&", "*", "!", "|", ">", "%", "@", "`", "{}", "[]", "---", "...", ", "),
    *("null", "Null", "true", "False", "on", "off", "yes", "No", "y", "n", "nan", "inf", ".nan", ".inf", "-.INF", "None"),
    *("1", "-1", "+1", "01", "0o17", "0x1f", "0b1", "1_000", "1.", ".5", ".5e1", "1e3", "1e-3", "1E+3", "1.5e3", "-_", "1:30"),
    *("2020-01-01", "2020-13-45", "2020-01-01T10:00:00Z", "12-3", "1e3x", "!!int 3", "*alias", "&anchor", "<<: *x", "a: b"),
    *(
        ":=",
        "?a",
        "- a",
        "? a",
        ": a",
        "a #b",
        "a: ",
        " a",
        "a ",
        "a  b",
        "'",
        '"',
        "''",
        '"a"',
        "\\",
        "\\n",
        "{a",
        "[a",
        "a]",
        "a,b",
    ),
    *(
        "\n",
        "a\nb",
        "a\n\n b\n",
        "\r",
        "a\r\nb",
        "\t",
        "a\tb",
        "\x1b[0m",
        "\x7f",
        "\x85",
        "\u2028",
        "\u2029",
        "\ufeff",
        "\xa0",
        "\u200b",
    ),
    *("naïve: yes", "λ", "字" * 100, "😀", "\U0010ffff", "\ufffe", "[red]x[/red]", ":warning:", "word " * 60, "x" * 2_000),
    *(f"a{' ' * 140}b", f"a{' ' * 140}\n b", f"{'word ' * 30}\n{'word ' * 30}"),
]


class Anything(Record):
    values: dict[str, Any]


class TestAnyText:
    @pytest.mark.parametrize("text", NASTY, ids=ascii)
    def test_any_text_reads_back_equal_as_name_and_as_value(self, tmp_path: Path, text: str) -> None:
        record = Anything(values={text: text, "nested": [text, {text: [text]}]})
        assert build(Anything, read(tmp_path, write_yaml(record))) == record

    @pytest.mark.parametrize("text", NASTY, ids=ascii)
    def test_any_text_reads_back_equal_in_one_line(self, text: str) -> None:
        settings = {text: text, "nested": [text, {text: [text]}]}
        line = to_yaml(settings, one_line=True)
        assert line.count("\n") == 1
        assert read_value(line, "line") == settings

    def test_random_text_reads_back_equal(self) -> None:
        random = Random(1)
        pieces = [*NASTY, *"abz019-+._:#,[]{}&*!|>'\"%@`?~=<\\/ \t\n\r"]
        for _ in range(100):
            text = "".join(random.choices(pieces, k=random.choice([2, 3, 5, 8])))
            settings = {text: text, "nested": [text]}
            assert read_value(to_yaml(settings), "text") == settings, text
            assert read_value(to_yaml(settings, one_line=True), "text") == settings, text

    @pytest.mark.parametrize(
        "number", [0, -1, 2**63 - 1, -(2**63), 0.1, 1e-7, 1e17, -0.0, 1 / 3, 5e-324, 1.7976931348623157e308]
    )
    def test_numbers_read_back_equal(self, number: float) -> None:
        read_back = read_value(to_yaml([number]), "text")
        assert read_back == [number]
        assert repr(read_back[0]) == repr(number)


# As PyYAML's `safe_dump` wrote files before, with a line folded at 120 characters and names quoted as YAML 1.1 needs it.
WRITTEN_BY_PYYAML = f"""\
question: 'Does a question that is longer than a line of a hundred and twenty characters, and that has a colon: read
  back as it was?'
experiment:
  peak_learning_rate: 0.0005
  initial_learning_rate: 1.0e-07
  adam_betas:
  - 0.9
  - 0.98
  distilled: null
  compile: false
baselines:
  'yes': {{}}
  'on': {{}}
  '1': {{}}
  '2020-01-01': {{}}
  mask-predict ✓: &id001
    objective.schedule:
      kind: constant
  again: *id001
  ? a name of more than 128 characters, for which PyYAML writes a question mark, {"-" * 60}
  : x: "two\\nlines\\x85"
"""


def test_a_file_written_by_pyyaml_reads_as_before(tmp_path: Path) -> None:
    schedule = {"objective.schedule": {"kind": "constant"}}
    assert read(tmp_path, WRITTEN_BY_PYYAML) == {
        "question": "Does a question that is longer than a line of a hundred and twenty characters, and that has a colon: read "
        "back as it was?",
        "experiment": {
            "peak_learning_rate": 0.0005,
            "initial_learning_rate": 1e-7,
            "adam_betas": [0.9, 0.98],
            "distilled": None,
            "compile": False,
        },
        "baselines": {
            "yes": {},
            "on": {},
            "1": {},
            "2020-01-01": {},
            "mask-predict ✓": schedule,
            "again": schedule,
            f"a name of more than 128 characters, for which PyYAML writes a question mark, {'-' * 60}": {"x": "two\nlines\x85"},
        },
    }


class TestValues:
    @pytest.mark.parametrize(
        ("text", "value"),
        [("2", 2), ("1e-1", 0.1), ("[a, 1]", ["a", 1]), ("on", "on"), ("true", True), ("", None), ("{a: 1}", {"a": 1})],
    )
    def test_a_single_value_is_read_as_yaml(self, text: str, value: object) -> None:
        assert read_value(text, "--set x") == value

    def test_a_single_value_that_is_not_yaml_is_reported(self) -> None:
        with pytest.raises(ConfigError, match=r"^--set precision: is not valid YAML \(.+\); correct it\.$"):
            read_value("{", "--set precision")


class TestWriting:
    @pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: str(schedule["kind"]))
    def test_a_written_record_reads_back_equal(self, tmp_path: Path, schedule: dict[str, Any]) -> None:
        record = build(Whole, {"part": {"name": "naïve: yes"}, "objective": {"schedule": schedule}})
        assert build(Whole, read(tmp_path, write_yaml(record))) == record

    def test_small_numbers_of_a_record_read_back_equal(self, tmp_path: Path) -> None:
        record = Part(rate=1e-7)
        assert build(Part, read(tmp_path, write_yaml(record))) == record


class TestRecord:
    def test_a_record_is_frozen(self) -> None:
        record = Part()
        with pytest.raises(ValidationError, match="frozen"):
            record.size = 5  # type: ignore[misc]

    def test_a_record_takes_only_keyword_arguments(self) -> None:
        with pytest.raises(TypeError):
            Part(4)  # type: ignore[call-arg]

    def test_a_field_is_documented_by_the_text_below_it(self) -> None:
        assert ModelConfig.model_fields["heads"].description == "Number of attention heads; must divide `width`."


class TestReplace:
    def test_replace_sets_leaves_by_dotted_path(self) -> None:
        record = replace(Whole(part=Part()), {"part.size": 7, "objective.schedule.end": 0.5, "mode": "exact"})
        assert (record.part.size, record.mode) == (7, "exact")
        assert record.objective.schedule.model_dump() == {"kind": "linear", "start": 0.0, "end": 0.5}

    def test_replace_leaves_the_record_unchanged(self) -> None:
        record = Whole(part=Part())
        replace(record, {"part.size": 7})
        assert record.part.size == 4

    def test_replacing_a_whole_sub_record_resets_its_other_settings(self) -> None:
        record = Whole(part=Part(size=7, rate=0.2))
        assert replace(record, {"part": {"size": 9}}).part == Part(size=9)

    def test_replace_leaves_the_settings_unchanged(self) -> None:
        settings = {"part": {"size": 9}, "part.rate": 0.5}
        assert replace(Whole(part=Part()), settings).part == Part(size=9, rate=0.5)
        assert settings == {"part": {"size": 9}, "part.rate": 0.5}

    def test_another_kind_starts_from_defaults_and_takes_its_own_settings_in_any_order(self) -> None:
        record = build(Whole, {"part": {}, "objective": {"schedule": {"kind": "power", "exponent": 3.0, "end": 0.5}}})
        settings = {"objective.schedule.steepness": 4.0, "objective.schedule.kind": "sigmoid"}
        assert replace(record, settings).objective.schedule.model_dump() == {
            "kind": "sigmoid",
            "start": 0.0,
            "end": 1.0,
            "steepness": 4.0,
            "midpoint": 0.5,
        }

    def test_replacing_a_kind_by_the_same_kind_keeps_its_settings(self) -> None:
        record = build(Whole, {"part": {}, "objective": {"schedule": {"kind": "power", "exponent": 3.0}}})
        assert replace(record, {"objective.schedule.kind": "power"}) == record

    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({"part.sise": 1}, "experiment.part.sise is unknown; did you mean 'size'?"),
            ({"prat.size": 1}, "experiment.prat is unknown; did you mean 'part'?"),
            ({"part.size.x": 1}, "experiment.part.size.x: there is no such setting; did you mean 'part.size'?"),
            ({"part.size": 0}, "experiment.part.size: must be greater than or equal to 1; got 0."),
            (
                {"objective.schedule.value": 0.5},
                "experiment.objective.schedule.value is unknown; known here: start, end, kind.",
            ),
        ],
    )
    def test_settings_that_do_not_fit_the_record_are_refused(self, settings: dict[str, Any], problem: str) -> None:
        with pytest.raises(ConfigError) as caught:
            replace(Whole(part=Part()), settings, "experiment")
        assert caught.value.problems == (problem,)


class TestPaths:
    def test_leaf_types_name_every_setting_of_every_kind(self) -> None:
        found = leaf_types(Whole)
        assert {"part", "part.size", "spare.rate", "objective.schedule.kind", "objective.schedule.knots", "mode"} <= set(found)
        assert len(found["objective.schedule.kind"]) == len(SCHEDULES)
        assert found["part.size"] == [int]

    def test_nearest_suggests_only_a_similar_name(self) -> None:
        assert nearest("widht", ["width", "heads"]) == "; did you mean 'width'?"
        assert nearest("zzz", ["width", "heads"]) == ""
