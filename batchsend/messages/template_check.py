"""Checks a template before any row is rendered: its files, variables, filters and tests.

The check finds all problems at once. This works because references are fixed: a template names files of its own
folder and columns of the list literally.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import TemplateSyntaxError, meta, nodes

from batchsend.errors import ExtensionError, FilterProblem, Sentence, page_words
from batchsend.lists.headers import ColumnIndex, nearest, variable_name
from batchsend.messages.environment import BoundedEnvironment
from batchsend.messages.template_files import inside, nearest_name, read_inside
from batchsend.messages.template_mistakes import (
    ROW,
    mistakes,
    placeholder_mistakes,
    plain_message,
    reference_to,
    with_columns,
)

_NAMES_SHOWN = 12
#: Jinja's tests that no text passes.
_TESTS_OF_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("true", "false", "boolean"), 'write the text of the cell, as in vip == "TRUE"'),
    **dict.fromkeys(("number", "integer", "float"), "write `mileage | number(0) > 0`"),
    "none": "write `not advisor` for a blank cell",
}
#: Values that each filter can print with any valid arguments.
_SAMPLES = {"date": "2026-12-31 09:30:00", "money": "1"}
#: Another reason for an unknown filter: after the most similar one, and alone.
_MISSING_PACKAGE = (
    ", or is a package missing here",
    "; if a package adds it, install the package on this computer",
)


@dataclass
class Findings:
    """The result of checking the file `main`.

    `sources` has the text of `main` and of all files that it refers to, by name; `variables` maps variables to the
    indexes of columns; `uses` has the indexes of all columns that are used.
    """

    main: str
    problems: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    variables: dict[str, int] = field(default_factory=dict)
    uses: set[int] = field(default_factory=set)
    constants: list[str] = field(default_factory=list)  #: texts of the files, also those in tags
    packages: set[str] = field(default_factory=set)  #: those whose filters are used, with their versions
    needs_row: bool = False


@dataclass(frozen=True)
class _Visit:
    """A reference to a file. `with_row`: the file can use the row; `inherited`: names set by the referring files."""

    name: str
    with_row: bool
    inherited: frozenset[str]


def check(
    environment: BoundedEnvironment, folder: Path, name: str, source: str, columns: ColumnIndex
) -> Findings:
    """Checks the template `name` with the text `source`, and all files of `folder` that it refers to."""
    findings = Findings(main=name, sources={name: source})
    visits = [_Visit(name, with_row=True, inherited=frozenset())]
    seen: set[_Visit] = set()
    while visits:
        visit = visits.pop(0)
        if visit not in seen:
            seen.add(visit)
            visits += _FileCheck(environment, folder, columns, findings, visit).run()
    findings.problems = list(dict.fromkeys(findings.problems))
    return findings


@dataclass
class _FileCheck:
    """The check of one file for one visit."""

    environment: BoundedEnvironment
    folder: Path
    columns: ColumnIndex
    findings: Findings
    visit: _Visit
    problems: list[tuple[int, str]] = field(default_factory=list)  #: line and problem

    def run(self) -> list[_Visit]:
        """Adds to the findings. Returns the visits to make next."""
        visits: list[_Visit] = []
        source = self.findings.sources[self.visit.name]
        try:
            visits = self._check(self.environment.parse(source, self.visit.name))
        except TemplateSyntaxError as error:
            found = mistakes(source, self.columns)
            self.problems += found or [(error.lineno, plain_message(error))]
        except RecursionError:
            self._problem(1, "the template is nested too deeply")
        file = f"{self.visit.name}, " if self.visit.name != self.findings.main else ""
        for line, text in sorted(self.problems):
            where = f"{file}line {line}: "
            self.findings.problems.append(Sentence(f"{where}{text}", f"{where}{page_words(text)}"))
        return visits

    def _check(self, tree: nodes.Template) -> list[_Visit]:
        self.findings.constants += (str(node.value) for node in tree.find_all(nodes.Const))
        self._check_functions(tree)
        self._check_look_alikes(tree)
        self._check_conditions(tree)
        self._check_columns_named_as_functions(tree)
        known = names_set(tree) | self.visit.inherited
        undeclared = meta.find_undeclared_variables(tree)
        if ROW in undeclared:
            self._check_row(tree, known)
        for variable in undeclared - {ROW}:
            self._check_variable(variable, _first_line(tree, variable), known)
        return list(self._references(tree, known))

    def _problem(self, line: int, text: str) -> None:
        self.problems.append((line, text))

    def _check_functions(self, tree: nodes.Template) -> None:
        for used in tree.find_all(nodes.Filter):
            self._find_in_packages(used)
        for node in tree.find_all((nodes.Filter, nodes.Test)):
            kind, known = (
                ("filter", self.environment.filters)
                if isinstance(node, nodes.Filter)
                else ("test", self.environment.tests)
            )
            if node.name not in known:
                close = nearest(node.name, [name for name in known if name[0].isalpha()])
                missing = ("", "") if kind == "test" else _MISSING_PACKAGE
                hint = f"; did you mean `{close}`{missing[0]}?" if close else missing[1]
                self._problem(node.lineno, f"there is no {kind} `{node.name}`{hint}")
                # Jinja would stop at an unknown name and hide later problems.
                node.name = "string"
            elif isinstance(node, nodes.Test) and node.name in _TESTS_OF_TYPES:
                self._problem(
                    node.lineno, f"`is {node.name}` never fits a cell; {_TESTS_OF_TYPES[node.name]}"
                )
            elif isinstance(node, nodes.Filter) and node.name in _SAMPLES:
                self._try_filter(node)

    def _find_in_packages(self, node: nodes.Filter) -> None:
        """Adds the filter of an installed package to the environment."""
        try:
            package = self.environment.add_filter_of_package(node.name)
        except ExtensionError as error:
            self._problem(node.lineno, Sentence(str(error), error.on_page))
            node.name = "string"
            return
        if package is not None:
            self.findings.packages.add(package)

    def _try_filter(self, node: nodes.Filter) -> None:
        """Reports a pattern, locale or currency that is wrong for every row."""
        arguments = [_constant(argument) for argument in node.args]
        named = {str(argument.key): _constant(argument.value) for argument in node.kwargs}
        if all(isinstance(value, str) for value in (*arguments, *named.values())):
            try:
                self.environment.filters[node.name](_SAMPLES[node.name], *arguments, **named)
            except FilterProblem as problem:
                self._problem(node.lineno, problem.description)
            except TypeError:
                self._problem(
                    node.lineno, f"`{node.name}` has other values; see the manual's page on templates"
                )

    def _check_columns_named_as_functions(self, tree: nodes.Template) -> None:
        called = {id(node.node) for node in tree.find_all(nodes.Call)}
        for node in tree.find_all(nodes.Name):
            found = self.columns.with_variable(node.name)
            if node.name in self.environment.globals and found and id(node) not in called:
                header = self.columns.headers[found[0]]
                self._problem(
                    node.lineno,
                    f'`{node.name}` is a function of Jinja\'s; write {ROW}["{header}"] for the column',
                )

    def _check_look_alikes(self, tree: nodes.Template) -> None:
        """Reports placeholders of other programs, which would be sent to customers."""
        for node in tree.find_all(nodes.TemplateData):
            self.findings.constants.append(node.data)
            self.problems += placeholder_mistakes(node.data, node.lineno, self.columns)

    def _check_conditions(self, tree: nodes.Template) -> None:
        """Reports `model == "CR-V" or "Accord"`, which is true for every row."""
        conditions: list[nodes.If | nodes.CondExpr] = [
            *tree.find_all(nodes.If),
            *tree.find_all(nodes.CondExpr),
        ]
        for node in conditions:
            for operand in _operands(node.test):
                if isinstance(operand, nodes.Const) and not isinstance(operand.value, bool):
                    self._problem(
                        operand.lineno,
                        f"`{operand.value}` alone does not depend on the row; compare every time, as in "
                        'model == "CR-V" or model == "Accord"',
                    )

    def _check_variable(self, variable: str, line: int, known: frozenset[str]) -> None:
        """Checks a variable. `known` names are set in some branch or by a referring file."""
        found = self.columns.with_variable(variable)
        if found and not self.visit.with_row and variable not in known:
            self._problem(line, _ROW_NOT_AVAILABLE.format(f"`{variable}` is a column"))
        elif len(found) > 1:
            self._problem(line, self._ambiguous(variable, found))
        elif found:
            self.findings.variables[variable] = found[0]
            self.findings.uses.add(found[0])
        elif variable not in known:
            self._unknown(variable, line)

    def _check_row(self, tree: nodes.Template, known: frozenset[str]) -> None:
        loads = [node for node in tree.find_all(nodes.Name) if node.name == ROW]
        if not self.visit.with_row:
            self._problem(loads[0].lineno, _ROW_NOT_AVAILABLE.format(f"`{ROW}` is used here"))
            return
        self.findings.needs_row = True
        by_header = 0
        subscripts: list[nodes.Getitem | nodes.Getattr] = [
            *tree.find_all(nodes.Getitem),
            *tree.find_all(nodes.Getattr),
        ]
        for node in subscripts:
            if isinstance(node.node, nodes.Name) and node.node.name == ROW and ROW not in known:
                key = node.attr if isinstance(node, nodes.Getattr) else _constant(node.arg)
                if key is not None:
                    by_header += 1
                    self._check_header(key, node.lineno)
        if by_header < len(loads):
            self.findings.uses.update(range(len(self.columns.headers)))

    def _check_header(self, key: object, line: int) -> None:
        if not isinstance(key, str):
            self._problem(line, f'`{ROW}` takes the header of a column in quotes: {ROW}["First Name"]')
            return
        found = self.columns.with_header(key) or self.columns.with_variable(key)
        if len(found) == 1:
            self.findings.uses.add(found[0])
        elif found:
            self._problem(line, self._ambiguous(key, found))
        else:
            self._unknown(key, line)

    def _unknown(self, name: str, line: int) -> None:
        headers = self.columns.headers
        tag = with_columns(self.findings.sources[self.visit.name], line, self.columns)
        if tag is not None:
            self._problem(line, f"names have no spaces or signs; write {tag}")
            return
        close = nearest(name, [*headers, *map(variable_name, headers)])
        if close is not None:
            found = self.columns.with_header(close) or self.columns.with_variable(close)
            index = found[0]
            hint = f"the nearest is `{reference_to(self.columns, index)}` (column {headers[index]})"
            on_page = f'the nearest is "{headers[index]}"'
        else:
            shown = ", ".join(header for header in headers[:_NAMES_SHOWN] if header)
            hint = on_page = f"it has: {shown}{', ...' if len(headers) > _NAMES_SHOWN else ''}"
        sentence = f"the list has no column for `{name}`; {hint}"
        self._problem(line, Sentence(sentence, f'the list has no column "{name}"; {on_page}'))

    def _ambiguous(self, name: str, found: Sequence[int]) -> str:
        headers = " and ".join(f'"{self.columns.headers[index]}"' for index in found)
        return f"`{name}` could be any of the columns {headers}; rename all but one of them"

    def _references(self, tree: nodes.Template, known: frozenset[str]) -> Iterator[_Visit]:
        references: list[nodes.Include | nodes.Import | nodes.FromImport | nodes.Extends] = [
            *tree.find_all(nodes.Include),
            *tree.find_all(nodes.Import),
            *tree.find_all(nodes.FromImport),
            *tree.find_all(nodes.Extends),
        ]
        for node in references:
            names = _file_names(node.template)
            if names is None:
                self._problem(node.lineno, "write the name of the other file in quotes")
                continue
            name = self._load_first(
                names, node.lineno, optional=isinstance(node, nodes.Include) and node.ignore_missing
            )
            if name is not None:
                with_row = self.visit.with_row and (isinstance(node, nodes.Extends) or node.with_context)
                yield _Visit(name, with_row, known if with_row else frozenset())

    def _load_first(self, names: Sequence[str], line: int, *, optional: bool) -> str | None:
        """Reads the first of the files that exists; reports it if it cannot be used."""
        for name in names:
            if name in self.findings.sources:
                return name
            path = inside(self.folder, name)
            if path is not None and not path.exists():
                continue
            content, problem = read_inside(self.folder, path)
            if problem is not None:
                self._problem(line, f"`{name}` cannot be used: {problem}")
                return None
            self.findings.sources[name] = content.decode("utf-8-sig")
            return name
        if not optional:
            near = nearest_name(self.folder, names[-1])
            hint = f"; did you mean `{near}`?" if near else ""
            self._problem(
                line, f"`{names[-1]}` cannot be used: there is no such file in the template's folder{hint}"
            )
        return None


def _file_names(node: nodes.Expr) -> list[str] | None:
    value = _constant(node)
    names = [value] if isinstance(value, str) else value
    if not names or not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        return None
    return list(names)


def _constant(node: nodes.Expr) -> object:
    """The value of a constant expression, else None."""
    try:
        return node.as_const()
    except nodes.Impossible:
        return None


def _operands(node: nodes.Node) -> Iterator[nodes.Node]:
    """The parts of a condition that `and`, `or` and `not` join."""
    if isinstance(node, (nodes.And, nodes.Or)):
        yield from _operands(node.left)
        yield from _operands(node.right)
    elif isinstance(node, nodes.Not):
        yield from _operands(node.node)
    else:
        yield node


def names_set(tree: nodes.Template) -> frozenset[str]:
    """The names that the file sets anywhere."""
    names = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    names |= {node.name for node in tree.find_all(nodes.Macro)}
    names |= {node.target for node in tree.find_all(nodes.Import)}
    for node in tree.find_all(nodes.FromImport):
        names |= {name if isinstance(name, str) else name[1] for name in node.names}
    return frozenset(names)


def _first_line(tree: nodes.Template, variable: str) -> int:
    return min((node.lineno for node in tree.find_all(nodes.Name) if node.name == variable), default=1)


_ROW_NOT_AVAILABLE = (
    "{}, but the file that imports this one does not share the row; "
    "add `with context` to the import, or pass the value to the macro"
)
