"""Configurations as YAML: what ``--config`` reads and every run saves."""

import reprlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from cattrs import ClassValidationError, Converter, transform_error
from cattrs.gen import make_dict_structure_fn
from cattrs.preconf.pyyaml import make_converter

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, raising
from dnar2mae.modalities.registry import modality_spec, preset_for
from dnar2mae.storage.safe_files import write_whole

_CONVERTER = make_converter(forbid_extra_keys=True)


def read_config(path: Path, default: PretrainConfig | None = None, *, whole: bool = False) -> PretrainConfig:
    """Read a configuration; settings it leaves out keep those of ``default``.

    Values must have the type of their setting; text stands for a number where Python's ``float`` reads it, since YAML
    takes ``1e-3`` for text. A file that is ``whole``, a run's own, must end as :func:`write_config` ends it.

    Raises
    ------
    ConfigError
        If the file is missing, cut or not YAML, a key is unknown or a value breaks its rule; every fault is named.
    """
    return config_of(_parsed(path, whole=whole), path, default)


def config_of(content: dict, where: str | Path, default: PretrainConfig | None = None) -> PretrainConfig:
    """Return the configuration of nested plain values; takes ``default`` and raises as :func:`read_config`.

    ``where`` is what messages name.
    """
    default = default or PretrainConfig()
    with raising(ConfigError, f"{where}: modality", ConfigError):
        name = _CONVERTER.structure(content.get("modality", default.modality), str)
        if name != default.modality:
            default = preset_for(name, default)
    of_modality: Any = PretrainConfig[modality_spec(name).config]  # type: ignore[misc]
    return structured(_merged(to_dict(default), content), of_modality, where)


def read_yaml(path: Path) -> Any:
    """Parse a file.

    Raises
    ------
    ConfigError
        It is not YAML.
    """
    with raising(ConfigError, f"{path}: not YAML", yaml.YAMLError, UnicodeDecodeError):
        return yaml.safe_load(path.read_text())


def structured(content: Any, kind: Any, where: str | Path) -> Any:
    """Return settings of the class ``kind`` from nested plain values; what these leave out has its default.

    Raises
    ------
    ConfigError
        If a key is missing or unknown or a value breaks its rule; every fault is named, after ``where``.
    """
    with raising(ConfigError, str(where), ConfigError):
        try:
            return _CONVERTER.structure(content, kind)
        except ClassValidationError as error:
            # faults of the whole file are "at $", which says nothing
            faults = [fault.removesuffix(" @ $") for fault in transform_error(error, format_exception=_fault)]
            raise ConfigError("; ".join(faults)) from error


def write_config(config: PretrainConfig, path: Path) -> None:
    """Write a configuration with every setting, and ``...``, YAML's end mark, which a file that was cut lacks."""
    write_whole(path, yaml.safe_dump(to_dict(config), sort_keys=False, explicit_end=True))


def read_whole(path: Path, kind: type) -> Any:
    """Read settings of another class than a pretraining's, as :func:`write_settings` wrote them.

    Raises
    ------
    ConfigError
        As :func:`read_config`.
    """
    return structured(_parsed(path, whole=True), kind, path)


def write_settings(settings: Any, path: Path) -> None:
    """Write settings of any class of settings, with the end mark of :func:`write_config`."""
    write_whole(path, yaml.safe_dump(_CONVERTER.unstructure(settings), sort_keys=False, explicit_end=True))


def to_dict(config: PretrainConfig) -> dict:
    """Return the nested plain values of a configuration."""
    return _CONVERTER.unstructure(config, PretrainConfig[type(config.data)])  # type: ignore[misc]


def flatten(config: PretrainConfig) -> dict[str, object]:
    """Return the settings by the name of their flag, such as ``mask.low``."""
    flat: dict[str, object] = {}
    for key, value in to_dict(config).items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat


def read_settings(path: Path) -> PretrainConfig:
    """Read the settings of a run directory, or of a file.

    Raises
    ------
    ConfigError
        As :func:`read_config`.
    """
    return read_config(path / "config.yaml", whole=True) if path.is_dir() else read_config(path)


def changed_settings(config: PretrainConfig) -> dict[str, object]:
    """Return the settings, by the name of their flag, that are not the defaults of the modality."""
    usual = flatten(preset_for(config.modality, PretrainConfig()))
    return {name: value for name, (_, value) in differences(usual, flatten(config)).items()}


def differences(first: dict[str, object], second: dict[str, object]) -> dict[str, tuple[object, object]]:
    """Return both values of the settings that differ; None where a modality does not have one."""
    both = {name: (first.get(name), second.get(name)) for name in first | second}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def _parsed(path: Path, *, whole: bool) -> dict:
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from error
    except Exception as error:  # PyYAML lets bare errors out: of dates that do not exist, of deep nesting
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if whole and not text.rstrip().endswith("\n..."):
        raise ConfigError(
            f"{path}: cut short, or of an earlier version: a run's configuration ends with a line of three dots. "
            "Put a whole copy back, or add the line if no setting is missing"
        )
    if not isinstance(content, dict | None):
        raise ConfigError(f"{path}: expected a mapping of settings to values, got {reprlib.repr(content)}")
    return content or {}


def _merged(default: dict, content: dict) -> dict:
    """Override nested defaults by nested settings."""
    pairs = {k: (default.get(k), v) for k, v in content.items()}
    both = {k: _merged(a, b) for k, (a, b) in pairs.items() if isinstance(a, dict) and isinstance(b, dict)}
    return {**default, **content, **both}


def _fault(error: BaseException, _type: Any) -> str:
    match error:
        case ConfigError():
            return str(error)
        case _ if hasattr(error, "extra_fields"):
            return f"unknown key {', '.join(sorted(map(str, error.extra_fields)))}"
        case KeyError():
            return f"{error.args[0]} is missing"
        case ValueError() | TypeError():
            return f"invalid value ({error})"
    return str(error)


def _unlike(rule: str, value: object) -> ConfigError:
    return ConfigError(f"expected {rule}, got {reprlib.repr(value)}")


def _exactly(kind: type, rule: str) -> Callable[[Any, type], Any]:
    def hook(value: Any, _: type) -> Any:
        if type(value) is not kind:
            raise _unlike(rule, value)
        return value

    return hook


def _number(value: Any, _: type) -> float:
    with suppress(TypeError, ValueError, OverflowError):
        if not isinstance(value, bool):
            return float(value)
    raise _unlike("a number", value)


def _sequence(value: Any, kind: Any) -> Any:
    if not isinstance(value, list | tuple):  # tuples are those of defaults
        raise _unlike("a list", value)
    kinds = get_args(kind)
    if get_origin(kind) is list or kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise _unlike(f"a list of {len(kinds)}", value)
    return get_origin(kind)(_CONVERTER.structure(inner, k) for inner, k in zip(value, kinds, strict=True))


def _section(kind: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    build = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise _unlike("a mapping of settings to values", value)
        return build(value, kind)

    return hook


for _kind, _rule in (
    (bool, "true or false"),
    (int, "a whole number"),
    (str, "text (in quotes, if it looks like a number)"),
):
    _CONVERTER.register_structure_hook(_kind, _exactly(_kind, _rule))
_CONVERTER.register_structure_hook(float, _number)
_CONVERTER.register_structure_hook_func(
    lambda kind: bool(get_args(kind)) and get_origin(kind) in (tuple, list), _sequence
)
_CONVERTER.register_structure_hook_factory(lambda kind: hasattr(kind, "__dataclass_fields__"), _section)
