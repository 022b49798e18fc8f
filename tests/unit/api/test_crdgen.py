"""Types to CRDs: what is committed is what the types say, and what cannot be said is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, Field

from tidemill_api import crdgen
from tidemill_api.markers import list_map, rules
from tidemill_api.structural import structural_schema

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("folder", crdgen.OUTPUT_FOLDERS)
def test_the_committed_crds_are_what_the_types_say(folder: str) -> None:
    assert crdgen.stale_files(ROOT / folder, crdgen.rendered()) == []


def test_writing_then_checking_finds_nothing(tmp_path: Path) -> None:
    assert crdgen.main(["--out", str(tmp_path / "a"), "--out", str(tmp_path / "b")]) == 0
    assert crdgen.main(["--check", "--out", str(tmp_path / "a"), "--out", str(tmp_path / "b")]) == 0


def test_a_changed_file_is_stale_and_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crdgen.main(["--out", str(tmp_path)])
    path = sorted(tmp_path.iterdir())[0]
    path.write_text("kind: Other\n")
    assert crdgen.main(["--check", "--out", str(tmp_path)]) == 1
    assert "run python -m tidemill_api.crdgen" in capsys.readouterr().err
    assert path.read_text() == "kind: Other\n", "--check writes nothing"
    crdgen.main(["--out", str(tmp_path)])
    assert yaml.safe_load(path.read_text())["kind"] == "CustomResourceDefinition"


def test_a_crd_that_is_generated_no_more_is_removed_and_others_stay(tmp_path: Path) -> None:
    gone, foreign = tmp_path / "tidemill.dev_oldkinds.yaml", tmp_path / "ray.io_rayclusters.yaml"
    gone.touch()
    foreign.touch()
    assert crdgen.main(["--check", "--out", str(tmp_path)]) == 1
    crdgen.main(["--out", str(tmp_path)])
    assert (gone.exists(), foreign.exists()) == (False, True)


class Inner(BaseModel):
    size: int = Field(default=2, ge=0, le=9)
    quiet: bool = False


class Outer(BaseModel):
    inner: Inner = Field(default_factory=Inner, description="inner thing.", json_schema_extra=rules(("true", "inner")))
    big: int = Field(ge=0, le=2**40)
    maybe: str | None = Field(default=None, max_length=4)
    names: tuple[str, ...] = ()
    items: list[Inner] = Field(default_factory=list, json_schema_extra=list_map("size"))
    labels: dict[str, str] = Field(default_factory=dict, max_length=3)


def test_a_nested_object_gets_the_empty_default_and_inner_ones_apply() -> None:
    inner = structural_schema(Outer, defaults=True)["properties"]["inner"]
    assert inner == {
        "description": "inner thing.",
        "type": "object",
        "default": {},
        "properties": {
            "size": {"type": "integer", "format": "int32", "default": 2, "maximum": 9, "minimum": 0},
            "quiet": {"type": "boolean"},
        },
        "x-kubernetes-validations": [{"rule": "true", "message": "inner"}],
    }


def test_an_optional_field_is_a_plain_one_that_may_be_absent() -> None:
    schema = structural_schema(Outer, defaults=True)
    assert schema["properties"]["maybe"] == {"type": "string", "maxLength": 4}
    assert schema["required"] == ["big"]


def test_lists_say_how_they_merge_and_integers_how_wide_they_are() -> None:
    properties = structural_schema(Outer, defaults=True)["properties"]
    assert properties["names"] == {
        "type": "array",
        "items": {"type": "string"},
        "x-kubernetes-list-type": "atomic",
    }
    assert properties["items"]["x-kubernetes-list-map-keys"] == ["size"]
    assert properties["big"]["format"] == "int64"
    assert properties["labels"] == {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "maxProperties": 3,
    }


def test_a_status_has_no_defaults() -> None:
    assert "default" not in str(structural_schema(Outer, defaults=False))


class Floating(BaseModel):
    share: float


class Either(BaseModel):
    value: int | str


class Odd(BaseModel):
    step: int = Field(multiple_of=5)


@pytest.mark.parametrize(
    ("model", "message"), [(Floating, "floats"), (Either, "no unions"), (Odd, "cannot say \\['multipleOf'\\]")]
)
def test_what_a_structural_schema_cannot_say_is_refused(model: type[BaseModel], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        structural_schema(model, defaults=True)
