"""SuiteQL, as far as it is understood here: one SELECT over the account's tables, translated to the store's own SQL.

    SELECT column, TO_CHAR(column, 'YYYY-MM-DD') AS name, ... FROM table [alias] [JOIN table alias ON a.x = b.y ...]
    [WHERE comparisons with =, <>, <, <=, >, >=, IN, IS [NOT] NULL, LIKE, BETWEEN joined by AND, OR, NOT and brackets]
    [ORDER BY columns [ASC | DESC]]

with TO_DATE, TO_TIMESTAMP, BUILTIN.DF and bound parameters (?). Whatever else is asked is refused with the vendor's 400, as
are a table and a column that do not exist. Values come back as texts, booleans as T and F, dates in the account's format
unless TO_CHAR says otherwise; nulls are left out. These are the vendor's habits.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from integrations.sandbox.netsuite import tables
from integrations.sandbox.netsuite.errors import RefusedError

PAGE, ROWS = 1000, 100_000

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>\d+(?:\.\d+)?)|(?P<word>[A-Za-z_][\w.]*)|(?P<sign><>|!=|<=|>=|[=<>(),?*-]))"
)
_FORMATS = {"YYYY-MM-DD": 10, "YYYY-MM-DD HH24:MI:SS": 19}


class SuiteQL:
    """Answers queries over the account's records. The caller holds the store's lock."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._columns: dict[str, dict[str, str]] = {}
        for table, (kind, columns) in tables.TABLES.items():
            shown = [f'{sql} AS "{name}"' for name, (sql, _) in columns.items()]
            shown += [f'{form[4:]} AS "df_{name}"' for name, (_, form) in columns.items() if form.startswith("ref:")]
            db.execute(
                f"CREATE TEMP VIEW IF NOT EXISTS ql_{table} AS SELECT {', '.join(shown)}, visible_at "  # noqa: S608
                f"FROM ns_record WHERE kind = '{kind}'"
            )
            self._columns[table] = {name: form for name, (_, form) in columns.items()}
        db.execute(tables.LINES)
        db.execute(
            "CREATE TEMP VIEW IF NOT EXISTS ql_deletedrecord AS SELECT recordid, scriptid, type, "
            "replace(substr(deleteddate, 1, 19), 'T', ' ') AS deleteddate, name, 0 AS visible_at FROM ns_deleted"
        )
        self._columns["transactionline"] = tables.LINE_COLUMNS
        self._columns["deletedrecord"] = tables.DELETED_COLUMNS

    def run(self, query: str, params: Sequence[Any], limit: int, offset: int) -> tuple[list[dict[str, str]], int]:
        """One page of a query's rows, and how many rows it has in all. Raises RefusedError."""
        statement = _Parser(query, self._columns)
        sql, names = statement.translate()
        if statement.bound != len(params):
            raise _bad(f"{statement.bound} parameters are expected, {len(params)} were given.")
        try:
            total = self._db.execute(f"SELECT count(*) FROM ({sql})", list(params)).fetchone()[0]  # noqa: S608 - translated
            rows = self._db.execute(f"{sql} LIMIT {limit} OFFSET {offset}", list(params)).fetchall()
        except sqlite3.Error as error:
            raise _bad(f"Search error occurred: {error}") from None
        total = min(int(total), ROWS)
        shown = rows[: max(0, total - offset)]
        return [{n: _shown(v) for n, v in zip(names, row, strict=True) if v is not None} for row in shown], total


class _Parser:
    """Reads one statement and writes it in the store's SQL. Every name is looked up; nothing is passed on unread."""

    def __init__(self, query: str, columns: dict[str, dict[str, str]]) -> None:
        self._known = columns
        self._tokens = _tokens(query)
        self._at = 0
        self._tables: dict[str, str] = {}  # alias → table
        self.bound = 0

    def translate(self) -> tuple[str, list[str]]:
        """The statement in the store's SQL, and the names of its columns."""
        body = self._at
        self._expect("SELECT")
        depth_from = next((i for i, token in enumerate(self._tokens) if token[1].upper() == "FROM"), None)
        if depth_from is None:
            raise _bad("The FROM clause is missing.")
        self._at = depth_from + 1
        source = self._sources()
        after = self._at
        self._at = body + 1
        shown, names = self._selection()
        self._at = after
        sql = f"SELECT {', '.join(shown)} FROM {source} WHERE {self._visible()}"  # noqa: S608 - translated
        if self._take("WHERE"):
            sql += f" AND ({self._condition()})"
        if self._take("ORDER"):
            self._expect("BY")
            sql += f" ORDER BY {self._ordering()}"
        if self._at < len(self._tokens):
            raise _bad(f"Unexpected {self._tokens[self._at][1]!r}.")
        return sql, names

    def _sources(self) -> str:
        sql = self._source()
        while True:
            if self._take("INNER"):
                self._expect("JOIN")
                joint = "JOIN"
            elif self._take("LEFT"):
                self._take("OUTER")
                self._expect("JOIN")
                joint = "LEFT JOIN"
            elif self._take("JOIN"):
                joint = "JOIN"
            else:
                return sql
            sql += f" {joint} {self._source()}"
            self._expect("ON")
            sql += f" ON {self._comparison()}"

    def _source(self) -> str:
        table = self._word().lower()
        if table not in self._known:
            raise _bad(f"Search error occurred: Record '{table}' was not found.")
        alias = table
        self._take("AS")
        if self._peek()[0] == "word" and self._peek()[1].upper() not in _RESERVED:
            alias = self._word().lower()
        self._tables[alias] = table
        return f'ql_{table} AS "{alias}"'

    def _visible(self) -> str:
        now = time.time()
        return " AND ".join(f'coalesce("{alias}".visible_at, 0) <= {now!r}' for alias in self._tables)

    def _selection(self) -> tuple[list[str], list[str]]:
        shown, names = [], []
        while True:
            sql, name, form = self._expression()
            if form == "date":
                month, day = (f"CAST(substr({sql}, {start}, 2) AS INTEGER)" for start in (6, 9))
                sql = f"({month} || '/' || {day} || '/' || substr({sql}, 1, 4))"
            if self._take("AS"):
                name = self._word().lower()
            shown.append(sql)
            names.append(name)
            if not self._take(","):
                self._expect("FROM")
                return shown, names

    def _ordering(self) -> str:
        parts = []
        while True:
            sql, _, _ = self._expression()
            direction = "DESC" if self._take("DESC") else "ASC"
            self._take("ASC")
            parts.append(f"{sql} {direction}")
            if not self._take(","):
                return ", ".join(parts)

    def _condition(self) -> str:
        sql = self._conjunction()
        while self._take("OR"):
            sql += f" OR {self._conjunction()}"
        return sql

    def _conjunction(self) -> str:
        sql = self._comparison()
        while self._take("AND"):
            sql += f" AND {self._comparison()}"
        return sql

    def _comparison(self) -> str:
        if self._take("NOT"):
            return f"NOT {self._comparison()}"
        if self._take("("):
            sql = self._condition()
            self._expect(")")
            return f"({sql})"
        left, _, _ = self._expression()
        if self._take("IS"):
            negated = "NOT " if self._take("NOT") else ""
            self._expect("NULL")
            return f"{left} IS {negated}NULL"
        negated = "NOT " if self._take("NOT") else ""
        if self._take("IN"):
            return f"{left} {negated}IN ({', '.join(self._arguments())})"
        if self._take("LIKE"):
            return f"{left} {negated}LIKE {self._expression()[0]}"
        if self._take("BETWEEN"):
            low = self._expression()[0]
            self._expect("AND")
            return f"{left} {negated}BETWEEN {low} AND {self._expression()[0]}"
        kind, sign = self._next()
        if kind != "sign" or sign not in ("=", "<>", "!=", "<", "<=", ">", ">="):
            raise _bad(f"A comparison is expected, not {sign!r}.")
        return f"{left} {sign} {self._expression()[0]}"

    def _arguments(self) -> list[str]:
        self._expect("(")
        found = [self._expression()[0]]
        while self._take(","):
            found.append(self._expression()[0])
        self._expect(")")
        return found

    def _expression(self) -> tuple[str, str, str]:
        """An expression in the store's SQL, the name that its column gets, and the form of what it holds."""
        kind, text = self._next()
        if kind == "sign" and text == "?":
            self.bound += 1
            return "?", f"expr{self.bound}", "text"
        if kind == "sign" and text == "-":
            sql, name, form = self._expression()
            return f"-{sql}", name, form
        if kind in ("string", "number"):
            return text, "expr1", kind
        if kind != "word":
            raise _bad(f"Unexpected {text!r}.")
        if self._peek()[1] == "(":
            return self._function(text.upper())
        alias, column, form = self._column(text)
        return f'"{alias}"."{column}"', column, form

    def _function(self, name: str) -> tuple[str, str, str]:
        if name == "BUILTIN.DF":
            self._expect("(")
            alias, column, form = self._column(self._word())
            self._expect(")")
            shown = f"df_{column}" if form.startswith("ref:") else column
            return f'"{alias}"."{shown}"', column, "text"
        if name not in ("TO_CHAR", "TO_DATE", "TO_TIMESTAMP"):
            raise _bad(f"Search error occurred: Unknown function {name}.")
        arguments = self._arguments()
        pattern = arguments[1].strip("'") if len(arguments) == 2 else ""
        if pattern not in _FORMATS:
            raise _bad(f"{name} needs one of the formats {', '.join(_FORMATS)}.")
        return f"substr({arguments[0]}, 1, {_FORMATS[pattern]})", name.lower(), "text"

    def _column(self, text: str) -> tuple[str, str, str]:
        alias, _, column = text.lower().rpartition(".")
        owners = [alias] if alias else [a for a, t in self._tables.items() if column in self._known[t]]
        if len(owners) != 1 or owners[0] not in self._tables:
            raise _bad(f"Search error occurred: Field '{text}' is unknown or ambiguous.")
        table = self._tables[owners[0]]
        if column not in self._known[table]:
            raise _bad(f"Search error occurred: Field '{column}' for record '{table}' was not found.")
        return owners[0], column, self._known[table][column]

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def _take(self, word: str) -> bool:
        if self._peek()[1].upper() == word and self._peek()[0] != "string":
            self._at += 1
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise _bad(f"{word} is expected, not {self._peek()[1]!r}.")

    def _word(self) -> str:
        kind, text = self._next()
        if kind != "word":
            raise _bad(f"A name is expected, not {text!r}.")
        return text


_RESERVED = frozenset("INNER LEFT OUTER JOIN ON WHERE ORDER BY AND OR NOT AS FROM GROUP HAVING UNION".split())  # noqa: SIM905


def _tokens(query: str) -> list[tuple[str, str]]:
    found, at = [], 0
    text = query.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _bad(f"Search error occurred: {text[at : at + 20]!r} cannot be read.")
        kind = match.lastgroup or ""
        found.append((kind, match.group(kind)))
        at = match.end()
    return found


def _bad(reason: str) -> RefusedError:
    return RefusedError(
        f"Invalid search query. Detailed unprocessed description follows. {reason}",
        code="INVALID_PARAMETER",
        errorQueryParam="q",
    )


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return str(value)
