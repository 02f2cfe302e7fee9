"""From what jsonargparse says of a config or an option to the one line that names the key and the mend."""

import difflib
import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final

from resvision.cli.messages import nearest, some

__all__ = ["explain_parse_error"]


def explain_parse_error(
    message: str,
    *,
    keys: Sequence[str] = (),
    settings: Sequence[str] = (),
    words: Sequence[str] = (),
    files: Iterable[str] = (),
) -> str:
    """Turn a parser's message into one that names the key and the nearest right word.

    Args:
        message: What jsonargparse says.
        keys: Every dotted key that the parser knows.
        settings: Keys of classes that can stand there.
        words: What was parsed.
        files: Names of the configs that come with the package.
    """
    fault = _innermost(message)
    said = "\n".join(fault.reasons)
    if match := re.search(r"File does not exist: '?([^'\n]+)", said):
        return f"there is no config file {match[1]}; {_nearest_file(match[1], files)}"
    if match := re.search(r"Path is not a file: '?([^'\n]+)", said):
        return f"{match[1]} is a folder; give a config in it, such as its config.yaml"
    if match := re.search(r"argument (\S+): expected one argument", said):
        return f"nothing follows {_without_value(match[1], words)}; give it a value"
    if match := re.search(r"arguments are required: (.+)", said):
        return _missing(fault, match[1].split(", "))
    if not fault.key and (match := re.search(r"not accept option '([^']+)'|unrecognized arguments: (\S+)", said)):
        given = (match[1] or match[2]).split("=")[0]
        if match[2] and given.split(".")[0] in {key.split(".")[0] for key in keys}:  # it was a word, no config's key
            return f"{given!r} is no option without its two dashes: give --{given}"
        word = given.lstrip("-")
        return f"there is no setting {given!r}; {nearest(word, keys, nearest(word, settings, 'see --help'))}"
    where = f"{fault.key}: " if fault.key else ""
    return where + (_of_its_class(fault, said) or _in_plain_words(fault, said) or _of_its_type(fault, said))


#: How jsonargparse wraps what is wrong with a value: in its key, in the class whose setting it is, in the type that is
#: called to make an object of such a class, and in a list of the types that it can have, with a reason against each.
_KEY: Final = re.compile(r'Parser key "([^"]+)"[^:\n]*:(.*)', re.DOTALL)
_CLASS: Final = re.compile(r"Problem with given class_path '([^']+)':(.*)", re.DOTALL)
_CALLABLE: Final = re.compile(r"Type (.*?) expects a function or a callable class:(.*)", re.DOTALL)
_UNION: Final = re.compile(
    r"Does not validate.*?\n *Subtypes: (.*?)\n *Errors:\n( *)- (.*)\n *Given value type:.*?\n *Given value: ?(.*)",
    re.DOTALL,
)
#: How a reason begins that says no more than that the value has another type.
_OTHER_TYPE: Final = ("Expected a", "Not a valid subclass", "Unexpected import path")


@dataclass(frozen=True)
class _Fault:
    """What a parser's message has at its core: a value, and why it cannot stand where it does.

    Attributes:
        key: Dotted key of the value; empty if there is none.
        owner: Path of the class whose settings these are; empty if there is none.
        types: Types that the value can have, as Python writes them.
        reasons: What speaks against it: a reason for each type, or the only one.
        value: The value, as Python writes it.
    """

    key: str
    owner: str
    types: str
    reasons: list[str]
    value: str

    @property
    def name(self) -> str:
        """Name of the class whose settings these are."""
        return self.owner.rpartition(".")[2]

    @property
    def words(self) -> list[str]:
        """Words among the types; in a list there are none."""
        if self.value.startswith("["):
            return []
        return re.findall(r"'(\w+)'", "".join(re.findall(r"typing\.Literal\[(.*?)\]", self.types)))

    @property
    def in_list(self) -> "_Fault":
        """The same if the value were in a list."""
        return replace(self, value=f"[{self.value}]")

    @property
    def bases(self) -> list[type[Any]]:
        """Classes among the types; each stands for those that are derived from it."""
        types = re.sub(r"typing\.Callable\[\[.*?\], ", "", self.types)  # without what it is called with
        if self.value and not self.value.startswith("["):
            types = re.sub(r"\blist\[[^\[\]]*\]", "", types)
        paths = re.findall(r"(?<![\w.])(?!typing\.|collections\.)[A-Za-z_]\w*(?:\.\w+)+", types)
        return [found for found in map(_load, paths) if inspect.isclass(found)]

    @property
    def fields(self) -> list[str]:
        """Names in the mapping that the value can be."""
        return [name for base in self.bases for name in inspect.get_annotations(base)]

    @property
    def choices(self) -> list[str]:
        """Names of the classes that can stand there, sorted."""
        pending = self.bases
        found = set[type[Any]]()
        while pending:
            derived = set(pending.pop().__subclasses__()) - found
            found |= derived
            pending += derived
        return sorted({kind.__name__ for kind in found if kind.__name__[0] != "_" and not inspect.isabstract(kind)})

    @property
    def offer(self) -> str:
        """End of a sentence: which classes can stand there."""
        return f"those for {self.key} are {some([*self.words, *self.choices])}"


def _innermost(message: str) -> _Fault:
    """Take off what is wrapped around the core of a message."""
    text = re.sub(r"\n *Subclass types expect one of:(\n *- a .*)+", "", message)
    # A value can be given as the path of a file, too, of which nobody has thought here.
    text = re.sub(r"\n *- Expected a path but .*? either not accessible or invalid\n *- ", "\n", text, flags=re.DOTALL)
    keys: list[str] = []
    owner = types = value = ""
    while True:
        text = text.strip()
        reasons = [text]
        if match := _KEY.match(text):
            keys.append(match[1])
            types, value, text = _annotation(owner, match[1]), "", match[2]
        elif match := _CLASS.match(text):
            owner, text = match.groups()
        elif match := _CALLABLE.match(text):
            text, got, given = match[2].rpartition(". Got value: ")
            if not got:  # it is the value of the types around this one
                text, given = given, value
            path = re.search(r"class_path\W+([\w.]+)", given)
            types, owner, value = types or match[1], path[1] if path else given, given
        elif match := _UNION.match(text):
            types, value = match[1], value if value.startswith("[") else match[4]  # of an element, the list is told
            reasons = re.split(rf"\n{match[2]}- ", match[3])
            # In the type that was meant, something within was wrong.
            telling = [reason for reason in reasons if not reason.startswith(_OTHER_TYPE)]
            if not telling:
                # A reason that tells what it got is about a part of the value: that of a key, if just one has it.
                if part := next(filter(None, (re.search(r"\. Got value: (.*)", reason) for reason in reasons)), None):
                    below = re.findall(rf"'(\w+)'(?:: |, val=)['\"]?{re.escape(part[1])}['\"]?[,}})]", value)
                    keys += below if len(below) == 1 else []
                    types, reasons = part.string, [part.string]
                break
            text = telling[0]
        else:
            break
    return _Fault(".".join(keys), owner, types, reasons, value)


def _annotation(owner: str, key: str) -> str:
    """Return the type of a setting as Python writes it, for a message that does not tell."""
    return str(parameter.annotation) if (parameter := _parameters(owner).get(key)) else ""


def _parameters(owner: str) -> dict[str, inspect.Parameter]:
    try:
        parameters = inspect.signature(_load(owner)).parameters
    except (TypeError, ValueError):  # there is no such class, or one that does not tell
        return {}
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: parameter for name, parameter in parameters.items() if parameter.kind not in variable}


def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name, None)
    except (ImportError, ValueError):
        return None


def _missing(fault: _Fault, names: list[str]) -> str:
    if not fault.key:
        what = _joined([name.split(".", 1)[-1] for name in names])
        return f"nothing says what {what} to use; give a config with --config FILE (`resvision configs` lists some)"
    if not_meant := _not_meant(fault):
        return f"{fault.key}: {not_meant}"
    how = _joined([f"--{fault.key}.{name}" for name in names])
    if fault.value.startswith("["):  # a list, in which no option tells one from another
        how = f"{_joined(names)} below its init_args, in {fault.key}"
    return f"{fault.name} needs {_joined(names)}: give {how}"


def _not_meant(fault: _Fault) -> str | None:
    """Say so if a class is only what those that can stand there are derived from, or is none of them."""
    given, bases = _load(fault.owner), tuple(fault.bases)
    if given in bases and given.__subclasses__():
        return f"say which class; {fault.offer}"
    if bases and inspect.isclass(given) and not issubclass(given, bases):
        return f"{fault.owner} cannot stand here; {fault.offer}"
    return None


def _of_its_class(fault: _Fault, said: str) -> str | None:
    """Say what is wrong with the name of a class, or of one of its settings."""
    if "is abstract" in said:
        return f"say which class; {fault.offer}"
    path = re.match(r"(?:[^\[]*class_path\W+)?(?:\w+\.)*(\w+)", fault.value)
    if path and path[1] in set(fault.in_list.choices) - set(fault.choices):
        return f"{path[1]} cannot stand alone: put it in a list, such as [{path[1]}]"
    if unknown := _unknown_setting(fault, said):
        return unknown
    if match := re.search(r"Multiple subclasses with name (\S+)\. Give [^:]*: (.+?)\.(\s|$)", said):
        return f"there are several classes {match[1]}; say which: {match[2].replace(', ', ' or ')}"
    if match := re.search(r"No module named '?([\w.]+)", said):
        return (
            f"{fault.owner} cannot be imported: there is no module {match[1]!r} (PYTHONPATH=. adds those that lie here)"
        )
    if match := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", said):
        return f"there is no class {fault.owner!r}; {nearest(fault.name, fault.in_list.choices, fault.offer)}"
    if match := re.search(r"Import path (\S*) ?does not correspond|Expected '(\S+)' to be a (subclass|function)", said):
        return f"{match[1] or match[2] or fault.value} cannot stand here; {fault.offer}"
    match = re.search(r"Expected a dot import path string: ?(.*)", said)
    if match and fault.choices and not fault.words and not _takes_number(said):
        return f"there is no class {match[1]!r}; {nearest(match[1], fault.choices, fault.offer)}"
    return None


def _unknown_setting(fault: _Fault, said: str) -> str | None:
    if match := re.search(r"Group '(\w+)' does not accept option '([^']+)'", said):
        name, option = match.groups()
        known = replace(fault, types=_annotation(fault.owner, name)).fields
    elif match := re.search(r"Unexpected keys: {'(.+?)'", said):
        name, option, known = fault.key.rpartition(".")[2], match[1], fault.fields
    elif match := re.search(r"Option '([^']+)' is not accepted|unrecognized arguments: --([^\s=]+)", said):
        if not_meant := _not_meant(fault):
            return not_meant
        name, option = fault.name, match[1] or match[2]
        # A class that is called later gets its first argument then.
        known = list(_parameters(fault.owner))[1 if "Callable[[" in fault.types else 0 :]
    else:
        return None
    return f"{name} has no setting {option!r}; {nearest(option, known, 'it has ' + (', '.join(known) or 'none'))}"


_A_CLASS: Final = "the name of a class"
#: What Python and jsonargparse say of a value, and the same for whoever wrote it.
_PLAIN: Final = {
    r"argument of type '(\w+)' is not": "class_path is the name of a class, got {0}",
    r"'(\w+)' object has no attribute 'keys'": "init_args is a mapping of settings, got {0}",
    r"Key must be a string, got: (.*)\.": "keys are words, and YAML reads one as {0}; put it in quotes if it is a word",
    r"invalid literal for int\(\) with base 10: (.+)": "keys are whole numbers, got {0}; are the two sides swapped?",
    r"Unexpected config": (
        "the config is empty or no mapping of settings; it needs model: and data: (`resvision configs` lists some)"
    ),
    r"Problems parsing config: (.+)": "the config is no valid YAML: {0}",
    r"Unable to load config '(.*)'": "expected a mapping of {fields}, got {0}",
}


def _in_plain_words(fault: _Fault, said: str) -> str | None:
    for pattern, words in _PLAIN.items():
        if match := re.search(pattern, said, flags=re.DOTALL):
            found = [" ".join(group.split()).replace("NoneType", "null") for group in match.groups()]
            return words.format(*found, fields=_joined(fault.fields) or "settings")
    # What albumentations says of the settings of a transform, by way of pydantic.
    wrong = re.findall(
        r"(?:^ *(\w.*)\n)?^ *(?:Value error, )?(.+) \[type=\w+, input_value=(.*), input_type=\w+\]$", said, re.MULTILINE
    )
    owner = " or ".join(dict.fromkeys(re.findall(r"class_path='[\w.]*?(\w+)'", fault.value)))
    whats = [
        f"{at.split('.')[0]} of {owner}: {what}, got {value}" if at else f"{owner}: {what}" for at, what, value in wrong
    ]
    return "; ".join(whats) or None


def _of_its_type(fault: _Fault, said: str) -> str:
    kinds = dict.fromkeys(kind for reason in fault.reasons if (kind := _kind(fault, reason, said)))
    if not kinds:
        return " ".join(said.split())
    if fault.value == "False" and "NoneType" in fault.types:  # as one may write that there is to be none
        kinds["null"] = None
    got = re.search(r"(?:Got value|path format|path string):(.*)", said)
    given = (got[1] if got else fault.value).strip()
    offer = nearest(given, fault.words, nearest(given, fault.in_list.choices, fault.offer if fault.choices else ""))
    return "; ".join(filter(None, [f"expected {' or '.join(kinds)}, got {given or 'nothing'}", offer]))


def _kind(fault: _Fault, reason: str, said: str) -> str | None:
    """Return the type that a reason asks for, if that is one to tell of."""
    if "NoneType" in reason or not reason.startswith(_OTHER_TYPE):
        return None
    if re.match("Not a valid subclass|Unexpected import path|Expected an? (dot )?import path", reason):
        if fault.words or _takes_number(said):  # a word or a tensor stands beside it
            return None
        return _A_CLASS if fault.choices else f"a mapping of {_joined(fault.fields) or 'settings'}"
    kind = re.sub(r"^Expected an? |\. Got value.*", "", reason, flags=re.DOTALL)
    return re.sub(r"<class '(?:\w+\.)*(\w+)'>|typing\.", r"\1", kind)


def _takes_number(said: str) -> bool:
    return re.search("Expected a <class '(int|float)'>", said) is not None


def _without_value(option: str, words: Sequence[str]) -> str:
    """Return which word has no value; the parser names the option that the setting is below."""
    for word, after in zip(words, [*words[1:], "--"], strict=True):
        if (word == option or word.startswith(f"{option}.")) and "=" not in word and after.startswith("--"):
            return word
    return option


def _joined(names: Sequence[str]) -> str:
    *others, last = names or [""]
    return f"{', '.join(others)} and {last}" if others else last


def _nearest_file(path: str, files: Iterable[str]) -> str:
    # Nearly every name ends in `.yaml`.
    stems = {file.rsplit(".", 1)[0]: file for file in files}
    stem = path.rsplit("/", 1)[-1].removesuffix(".yaml")
    near = difflib.get_close_matches(stem, stems, n=1)
    return f"did you mean {stems[near[0]]!r}?" if near else "`resvision configs` lists those shipped"
