"""Messages of gRPC protocols from tables: no generated file, and no clash with a client's own copy in the process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = re.compile(r"(?P<map>\{)?(?P<type>[\w.]+)(?:\}|(?P<repeated>\*))? (?P<name>\w+)(?: = (?P<number>\d+))?")
_SCALARS = {"bool", "int32", "int64", "uint32", "uint64", "float", "double", "bytes", "string"}


class Messages:
    """Message classes of one package, in a descriptor pool of its own.

    Args:
        package: such as ``inference``; the file is called ``megaseg/PACKAGE.proto``.
        table: fields of each message, as ``type name`` with commas between, in the order of their numbers from 1 where
            no `` = number`` says more. ``*`` repeats a type, ``{T}`` maps strings to it; an enum is an int32.
        choices: messages all of whose fields are one oneof, by its name.
    """

    def __init__(self, package: str, table: Mapping[str, str], choices: Mapping[str, str] | None = None) -> None:
        self._package, self._choices = package, choices or {}
        file = descriptor_pb2.FileDescriptorProto(name=f"megaseg/{package}.proto", package=package, syntax="proto3")
        made: dict[str, Any] = {}
        for path, fields in table.items():
            owner, _, name = path.rpartition(".")
            message = made[path] = made[owner].nested_type.add(name=name) if owner else file.message_type.add(name=name)
            if path in self._choices:
                message.oneof_decl.add(name=self._choices[path])
            for number, match in enumerate(_FIELD.finditer(fields), start=1):
                self._add_field(path, message, int(match["number"] or number), match)
        self.pool = descriptor_pool.DescriptorPool()
        self.pool.AddSerializedFile(file.SerializeToString())

    def message(self, name: str) -> Any:
        """The class of a message, such as ``ModelInferRequest``."""
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(f"{self._package}.{name}"))

    def _add_field(self, path: str, message: Any, number: int, match: re.Match[str]) -> None:
        kinds = descriptor_pb2.FieldDescriptorProto
        kind, name = match["type"], match["name"]
        if match["map"]:  # on the wire, repeated entries of key and value
            entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
            entry.options.map_entry = True
            for place, part in enumerate(("string key", f"{kind} value"), start=1):
                self._add_field("", entry, place, _FIELD.match(part))  # type: ignore[arg-type]
            kind = f"{path}.{entry.name}"
        repeated = bool(match["map"] or match["repeated"])
        label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
        field = message.field.add(name=name, number=number, label=label)
        if kind in _SCALARS:
            field.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
        else:
            field.type, field.type_name = kinds.TYPE_MESSAGE, f".{self._package}.{kind}"
        if path in self._choices:
            field.oneof_index = 0
