"""From text to terms: Python's own parser, and a list of what is allowed of what it finds."""

from __future__ import annotations

import ast
import warnings
from typing import Final

from posthouse.core.filters import literals
from posthouse.core.filters.grammar import (
    BOOLEAN,
    EQUALS,
    KINDS,
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_TERMS,
    ROOTS,
    STAMPS,
    Affix,
    Both,
    Compare,
    Contains,
    Field,
    IsNull,
    Literal,
    Not,
    OneOf,
    Operand,
    Scalar,
    Term,
    Truth,
)
from posthouse.errors import FilterError

_OPS: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_NESTED: Final = ("headers", "body")


def parse(text: str) -> Term:
    """The filter as a term.

    Raises:
        FilterError: it is not one; the text has a caret under the fault.
    """
    if not isinstance(text, str):
        raise FilterError(f"a filter is a str, not {type(text).__name__}")
    if len(text) > MAX_CHARACTERS:
        raise FilterError(
            f"a filter has at most {MAX_CHARACTERS:,} characters, not {len(text):,}",
            text,
            MAX_CHARACTERS,
        )
    if "\0" in text:
        raise FilterError("a filter has no NUL characters", text, text.index("\0"))
    inner = text.lstrip(" ")
    if not inner:
        raise FilterError("the filter is empty", text or " ")
    parser = _Parser(text, len(text) - len(inner))
    return parser.term(parser.tree(inner), 1)


def parse_field(text: str) -> Field:
    """A header, or something in the body, written as in a filter: what an index may be on.

    Raises:
        FilterError: it is not one; the text has a caret under the fault.
    """
    term = parse(text)
    field = term.operand if isinstance(term, Truth) else None
    if not isinstance(field, Field) or not field.path:
        raise FilterError("this is not a field like body.order_id or headers.customer", text)
    return field


class _Parser:
    """One filter's text, and how much of what it may cost is spent."""

    def __init__(self, text: str, skipped: int) -> None:
        self._text = text
        self._skipped = skipped
        self._lines = text[skipped:].splitlines(keepends=True)
        self._terms = 0

    def tree(self, inner: str) -> ast.expr:
        """What Python's parser makes of it."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "1is None", "\\d": ours to judge, or harmless
                return ast.parse(inner, mode="eval").body
        except SyntaxError as error:
            # Its columns count characters from 1; those of the tree count bytes from 0.
            at = self._place(error.lineno or 1, (error.offset or 1) - 1)
            fault = (error.msg or "invalid syntax").partition(". Perhaps")[0]
        except UnicodeEncodeError as error:
            at, fault = self._skipped + error.start, "this is not a Unicode character"
        except (MemoryError, RecursionError, OverflowError, ValueError):
            at, fault = self._skipped, "the filter is nested too deeply"
        raise FilterError(f"this is not a filter: {fault}", self._text, at) from None

    def _place(self, line: int, column: int) -> int:
        return self._skipped + sum(map(len, self._lines[: line - 1])) + max(column, 0)

    def _fault(self, node: ast.expr, what: str) -> FilterError:
        line = self._lines[node.lineno - 1] if node.lineno <= len(self._lines) else ""
        before = line.encode(errors="surrogatepass")[: node.col_offset]
        column = len(before.decode(errors="replace"))
        return FilterError(what, self._text, self._place(node.lineno, column))

    def _spend(self, node: ast.expr) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise self._fault(node, f"a filter has at most {MAX_TERMS} terms")

    # terms: true, false or unknown

    def term(self, node: ast.expr, depth: int) -> Term:
        """A term of the filter."""
        if depth > MAX_DEPTH:
            raise self._fault(node, f"the filter is nested more than {MAX_DEPTH} deep")
        self._spend(node)
        match node:
            case ast.BoolOp():
                terms = tuple(self.term(value, depth + 1) for value in node.values)
                return Both(terms, any_of=isinstance(node.op, ast.Or))
            case ast.UnaryOp(op=ast.Not()):
                return Not(self.term(node.operand, depth + 1))
            case ast.Compare():
                return self._comparison(node)
            case ast.Call():
                return self._affix(node)
            case ast.Constant(value=bool() as value):
                return Truth(Literal(value))
            case ast.Constant():
                raise self._fault(node, "a value alone is no condition; compare it with a field")
        field = self._field(node)
        if field.root not in _NESTED:
            raise self._fault(node, f"{field} alone is no condition; compare it with something")
        return Truth(field)

    def _comparison(self, node: ast.Compare) -> Term:
        terms: list[Term] = []
        left = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            self._spend(right)
            terms.append(self._pair(left, op, right))
            left = right
        return terms[0] if len(terms) == 1 else Both(tuple(terms))

    def _pair(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Term:
        if isinstance(op, (ast.Is, ast.IsNot)):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise self._fault(right, "'is' asks for None only; use == for values")
            null = IsNull(self._field(left))
            return Not(null) if isinstance(op, ast.IsNot) else null
        if isinstance(op, (ast.In, ast.NotIn)):
            inside = self._inside(left, right)
            return Not(inside) if isinstance(op, ast.NotIn) else inside
        return self._compare(left, _OPS[type(op)], right)

    def _compare(self, left: ast.expr, op: str, right: ast.expr) -> Compare:
        first, second = self._operand(left), self._operand(right)
        if isinstance(first, Literal) and isinstance(second, Literal):
            raise self._fault(left, "two values are compared; one must be a field")
        first = self._stamped(first, second, left)
        second = self._stamped(second, first, right)
        for operand, node in ((first, left), (second, right)):
            boolean = isinstance(operand, Literal) and KINDS[type(operand.value)] == BOOLEAN
            if boolean and op not in EQUALS:
                raise self._fault(node, "True and False have no order")
        return Compare(op, first, second)

    def _inside(self, left: ast.expr, right: ast.expr) -> Term:
        operand = self._operand(left)
        if isinstance(right, (ast.List, ast.Tuple, ast.Set)):
            if isinstance(operand, Literal):
                raise self._fault(left, "a value is looked for among values; use a field")
            if not right.elts:
                raise self._fault(right, "the list is empty: nothing is in it")
            options: list[Scalar] = []
            for element in right.elts:
                self._spend(element)
                value: Operand = Literal(self._literal(element))
                value = self._stamped(value, operand, element)
                assert isinstance(value, Literal)
                options.append(value.value)
            return OneOf(operand, tuple(options))
        container = self._field(right)
        if container.root not in (*_NESTED, "key") or container == Field("headers"):
            raise self._fault(right, f"nothing is in {container}; look in a list, a header, a body")
        return Contains(self._unstamped(operand, left), container)

    def _affix(self, node: ast.Call) -> Affix:
        function = node.func
        named = isinstance(function, ast.Attribute)
        name = function.attr if isinstance(function, ast.Attribute) else ""
        if not named or name not in ("startswith", "endswith"):
            hint = "; write 'x in field'" if name == "contains" else ""
            raise self._fault(node, f"only startswith and endswith can be called{hint}")
        assert isinstance(function, ast.Attribute)
        if len(node.args) != 1 or node.keywords:
            raise self._fault(node, f"{name} takes one text")
        text = self._literal(node.args[0])
        if not isinstance(text, str):
            raise self._fault(node.args[0], f"{name} takes one text")
        field = self._field(function.value)
        self._unstamped(field, function.value)
        return Affix(field, text, at_end=name == "endswith")

    # operands

    def _operand(self, node: ast.expr) -> Operand:
        if isinstance(node, (ast.Constant, ast.UnaryOp)):
            return Literal(self._literal(node))
        return self._field(node)

    def _literal(self, node: ast.expr) -> Scalar:
        if isinstance(node, ast.Constant) and node.value is None:
            raise self._fault(node, "nothing equals None; write 'is None' or 'is not None'")
        value = literals.value_of(node)
        if value is None:
            raise self._fault(node, "this is no value; write a number, a 'text', True or False")
        problem = literals.problem(value)
        if problem is not None:
            raise self._fault(node, problem)
        return value

    def _stamped(self, operand: Operand, other: Operand, node: ast.expr) -> Operand:
        """A literal beside ``id`` or ``enqueued_at`` as the number that it stands for."""
        if not isinstance(other, Field) or other.root not in STAMPS:
            if isinstance(operand, Field) and operand.root in STAMPS and isinstance(other, Field):
                raise self._fault(node, f"{operand} is compared with a value only")
            return operand
        if isinstance(operand, Field):
            if operand.root != other.root:
                raise self._fault(node, f"{other} is compared with a value only")
            return operand
        if isinstance(operand.value, int) and not isinstance(operand.value, bool):
            return operand  # it is the number already
        number = literals.stamp(other.root, operand.value)
        if isinstance(number, str):
            raise self._fault(node, number)
        return Literal(number)

    def _unstamped(self, operand: Operand, node: ast.expr) -> Operand:
        if isinstance(operand, Field) and operand.root in STAMPS:
            raise self._fault(node, f"{operand} is compared with ==, <, > and 'in [...]' only")
        return operand

    def _field(self, node: ast.expr) -> Field:
        path: list[str | int] = []
        at = node
        while isinstance(at, (ast.Attribute, ast.Subscript)):
            if len(path) >= MAX_DEPTH:
                raise self._fault(node, f"a field has at most {MAX_DEPTH} steps")
            if isinstance(at, ast.Attribute):
                path.append(at.attr)
                self._check_step(at, at.attr)
            else:
                path.append(self._subscript(at))
            at = at.value
        if not isinstance(at, ast.Name):
            raise self._fault(at, "this cannot stand here; a filter compares fields with values")
        if at.id not in ROOTS:
            raise self._fault(at, f"there is no field {at.id!r}; there are: {', '.join(ROOTS)}")
        path.reverse()
        if path and at.id not in _NESTED:
            raise self._fault(node, f"{at.id} has no fields of its own")
        if at.id == "headers" and len(path) != 1:
            raise self._fault(node, "name one header, as in headers.customer or headers['x-id']")
        if at.id == "headers" and not isinstance(path[0], str):
            raise self._fault(node, "a header's name is a text")
        return Field(at.id, tuple(path))

    def _subscript(self, node: ast.Subscript) -> str | int:
        step = node.slice
        value = step.value if isinstance(step, ast.Constant) else None
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            self._check_step(step, value)
            return value
        raise self._fault(step, "in the brackets is a 'name', or a whole number from 0")

    def _check_step(self, node: ast.expr, step: str | int) -> None:
        problem = literals.step_problem(step)
        if problem is not None:
            raise self._fault(node, problem)


def fields_of(term: Term) -> set[Field]:
    """All the fields that a term looks at."""
    match term:
        case Both():
            return set().union(*map(fields_of, term.terms))
        case Not():
            return fields_of(term.term)
        case Compare():
            operands: tuple[Operand, ...] = (term.left, term.right)
        case OneOf() | Truth():
            operands = (term.operand,)
        case Contains():
            operands = (term.operand, term.container)
        case Affix() | IsNull():
            operands = (term.field,)
    return {operand for operand in operands if isinstance(operand, Field)}
