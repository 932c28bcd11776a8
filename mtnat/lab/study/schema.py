"""JSON schemas of study and experiment files, for the completion and the checks of an editor.

They are made from the records and their docstrings, in draft 7 of JSON Schema, which editors support. ``mtnat schema`` prints
them, and `mtnat/schemas/` holds them. A file that the program accepts is valid by its schema. The reverse does not hold: these
rules, which concern several settings, a corpus or a machine, are checked by the program only.

- A setting of one kind beside another ``kind`` in `baselines`, `columns`, `search` or the `settings` of `teacher`,
  `reverse_teacher` and `rejuvenation`, and a `decoding` that does not fit the system.
- Rules between two settings: `warmup_steps` below `steps`, `heads` that divide `width`, `max_length` and `max_positions`, a
  corpus beside files, a decoder that is not trained, `log` beside `step`, low above high, a `step` that misses the high bound.
- Rules between two parts of a study: `confirm.against` and `published` name baselines and columns, `confirm.top` and `trials`,
  `confirm.seeds` and `experiment.seed`, `looks` and `seeds`, `pruner`, `horizon`, `budget`, `metric` and `metrics` against the
  search, `when` against the other searched settings, a search of a setting inside another one, `teacher` and `data.distilled`,
  `reverse_teacher` and `data.reverse_distilled`, `rejuvenation` and `data.rejuvenated`, `data.stages` and its texts.
- Names of baselines and columns that would have the same folder.
- Missing files, a vocabulary that the text does not support, folders of `warm_start` and `system.teacher`, workers and
  resources of the machine.
- Numbers such as ``3.0`` where a whole number is needed, and infinite ones.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mtnat.config import DefaultKind
from mtnat.experiment import Experiment
from mtnat.lab.study.record import FIXED, FIXED_IN_COLUMNS, LEAVES, Study
from mtnat.lab.study.searching import METRICS
from mtnat.lab.study.space_reading import path_problem

Schema = dict[str, Any]

_DRAFT = "http://json-schema.org/draft-07/schema#"
_DEFINITIONS = "#/definitions/"
_NUMBERS = {"integer": ("int",), "number": ("float", "int")}
"""The kinds of ranges over which settings of these types can be searched."""
_SEED = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}


def experiment_schema() -> Schema:
    """Returns the schema of an experiment file."""
    schema = _clean(Experiment.model_json_schema(ref_template=f"{_DEFINITIONS}{{model}}"))
    definitions = schema.pop("$defs")
    _name_kinds(definitions, schema["properties"])
    return {"$schema": _DRAFT, "title": "Experiment of mtnat", **schema, "definitions": definitions}


def study_schema() -> Schema:
    """Returns the schema of a study file."""
    schema = _clean(Study.model_json_schema(ref_template=f"{_DEFINITIONS}{{model}}"))
    definitions = schema.pop("$defs")
    _name_kinds(definitions, definitions["Experiment"]["properties"])
    settings = _Settings(definitions)
    in_trials = [path for path in LEAVES if not path_problem(path, LEAVES, FIXED, "")]
    in_columns = [path for path in LEAVES if not path_problem(path, LEAVES, FIXED_IN_COLUMNS, "")]
    properties = schema["properties"]
    properties["baselines"]["additionalProperties"] = {"$ref": f"{_DEFINITIONS}TrialSettings"}
    properties["columns"]["additionalProperties"] = {"$ref": f"{_DEFINITIONS}ColumnSettings"}
    properties["search"] |= {
        "additionalProperties": False,
        "properties": {path: settings.dimension(path) for path in in_trials},
    }
    properties["metrics"]["anyOf"][0] |= {"items": [_metrics("valid.bleu")], "additionalItems": _metrics(*METRICS)}
    teacher = definitions["Teacher"]["properties"]
    teacher["settings"] = {"$ref": f"{_DEFINITIONS}TrialSettings", "description": teacher["settings"]["description"]}
    for name in ("ReverseTeacher", "Rejuvenation"):
        definitions[name]["properties"]["settings"]["anyOf"] = [{"$ref": f"{_DEFINITIONS}TrialSettings"}, {"type": "null"}]
    definitions["Confirm"]["properties"]["seeds"] |= {"items": _SEED, "uniqueItems": True}
    definitions["Horizon"]["properties"]["steps"] |= {"items": {"type": "integer", "minimum": 1}, "uniqueItems": True}
    definitions |= {
        "TrialSettings": _object({path: settings.value(path) for path in in_trials}),
        "ColumnSettings": _object({path: settings.value(path) for path in in_columns}),
        "When": {
            "description": "Condition: varied only while each of these searched settings has one of these values.",
            **_object({path: _one_or_several(settings.value(path)) for path in in_trials}),
        },
    }
    return {"$schema": _DRAFT, "title": "Study of mtnat", **schema, "definitions": definitions}


def schema_text(schema: Schema) -> str:
    """Returns a schema as the text of its file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


class _Settings:
    """The settings of an experiment by dotted path, as references into the definitions of a schema."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions
        self._pointers: dict[str, dict[str, Schema]] = {}
        """For each path the schemas of the kinds that have this setting, by pointer; equal ones once."""
        for path, pointer, schema in self._walk("Experiment", ""):
            known = self._pointers.setdefault(path, {})
            if schema not in known.values():
                known[pointer] = schema

    def value(self, path: str) -> Schema:
        """Returns the schema of the values of a setting."""
        pointers = self._pointers[path]
        if all("const" in schema for schema in pointers.values()):
            return {"description": "Name of the kind.", "enum": [schema["const"] for schema in pointers.values()]}
        references: list[Schema] = [{"$ref": pointer} for pointer in pointers]
        return references[0] if len(references) == 1 else {"anyOf": references}

    def dimension(self, path: str) -> Schema:
        """Returns the schema of an entry of `search`."""
        value = self.value(path)
        ranges = {kind for schema in self._pointers[path].values() for kind in _ranges(schema)}
        kinds = [*sorted(ranges), "choice"]
        properties: Schema = {kind: {"description": "Lowest and highest value.", **_pair(value)} for kind in sorted(ranges)}
        properties["choice"] = {
            "description": "The values.",
            "type": "array",
            "items": value,
            "minItems": 1,
            "uniqueItems": True,
        }
        if ranges:
            properties |= {
                "log": {"description": "Whether the logarithm is searched evenly.", "type": "boolean"},
                "step": {"description": "Distance between neighbouring values.", "type": "number", "exclusiveMinimum": 0},
            }
        properties["when"] = {"$ref": f"{_DEFINITIONS}When"}
        not_with_choice = {"not": {"required": ["choice"]}}
        return {
            "description": next(
                (schema["description"] for schema in self._pointers[path].values() if "description" in schema), ""
            ),
            **_object(properties),
            "oneOf": [{"required": [kind]} for kind in kinds],
            **({"dependencies": {"log": not_with_choice, "step": not_with_choice}} if ranges else {}),
        }

    def _walk(self, definition: str, prefix: str) -> Iterator[tuple[str, str, Schema]]:
        """Yields path, pointer and schema of each setting, in the order of the records."""
        for name, schema in self._definitions[definition]["properties"].items():
            yield f"{prefix}{name}", f"{_DEFINITIONS}{definition}/properties/{name}", schema
            for inner in (schema, *schema.get("oneOf", ()), *schema.get("anyOf", ())):
                if "$ref" in inner:
                    yield from self._walk(inner["$ref"].removeprefix(_DEFINITIONS), f"{prefix}{name}.")


def _clean(schema: Any) -> Any:
    """Returns a schema of pydantic in draft 7, without titles, with plain descriptions, and with defaults of single values."""
    if isinstance(schema, list):
        return [_clean(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    cleaned: Schema = {
        name: {key: _clean(inner) for key, inner in value.items()} if name in ("properties", "$defs") else _clean(value)
        for name, value in schema.items()
        if name not in ("title", "discriminator") and not (name == "default" and (value is None or isinstance(value, dict)))
    }
    if "description" in cleaned:
        cleaned["description"] = " ".join(cleaned["description"].replace("`", "").split())
    if "prefixItems" in cleaned:
        cleaned["items"] = cleaned.pop("prefixItems")
    return cleaned


def _name_kinds(definitions: Mapping[str, Schema], experiment: Mapping[str, Schema]) -> None:
    """Adds which kinds have to be named, and the rule for a corpus."""
    for definition in definitions.values():
        kind = definition["properties"].get("kind", {})
        if "const" in kind:
            kind.pop("default", None)
            kind.setdefault("description", definition.get("description", "Name of the kind."))
            definition["required"] = ["kind", *definition.get("required", ())]
    for name, field in Experiment.model_fields.items():
        for default in (each.kind for each in field.metadata if isinstance(each, DefaultKind)):
            for member in experiment[name]["oneOf"]:
                definition = definitions[member["$ref"].removeprefix(_DEFINITIONS)]
                # A decoding without a kind has that of the system, which may be any.
                if name == "decoding" or definition["properties"]["kind"]["const"] == default:
                    definition["required"].remove("kind")
    experiment["decoding"]["anyOf"] = experiment["decoding"].pop("oneOf")
    definitions["DataConfig"]["anyOf"] = [{"required": ["corpus"]}, {"required": ["train", "valid", "test"]}]


def _ranges(schema: Schema) -> Iterator[str]:
    """Yields the kinds of ranges over which a setting can be searched."""
    for inner in (schema, *schema.get("anyOf", ())):
        yield from _NUMBERS.get(str(inner.get("type")), ())


def _metrics(*names: str) -> Schema:
    ways = {"enum": ["max"]} if names == ("valid.bleu",) else {"enum": ["max", "min"]}
    properties = {
        name: {"description": f"{METRICS[name].meaning[0].upper()}{METRICS[name].meaning[1:]}.", **ways} for name in names
    }
    return {**_object(properties), "minProperties": 1, "maxProperties": 1}


def _pair(value: Schema) -> Schema:
    return {"type": "array", "items": value, "minItems": 2, "maxItems": 2}


def _one_or_several(value: Schema) -> Schema:
    return {"anyOf": [value, {"type": "array", "items": value, "minItems": 1}]}


def _object(properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}
