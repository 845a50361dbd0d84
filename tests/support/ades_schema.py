"""The Minor Planet Center's own check of ADES files: its PyPI package iau-ades, without a network."""

import contextlib
import importlib.util
import io
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from ades import adesutility
from lxml import etree


@cache
def submit_schema():
    """The schema of a submission, made from the master file as `ades.valsubmit` makes it."""
    master, recipe = (adesutility.readXML(name) for name in (adesutility.adesmaster, adesutility.schemaxslts["submit"]))
    return adesutility.XMLtoSchemaViaXSLT(master, recipe)


def schema_faults(psv):
    """What `ades.psvtoxml` or the schema of a submission says against a file; empty: it is accepted."""
    with TemporaryDirectory() as folder:
        source, xml = Path(folder, "report.psv"), Path(folder, "report.xml")
        source.write_text(psv, encoding="utf-8", newline="")
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                fresh_converter().psvtoxml(str(source), str(xml))
        except (SystemExit, ValueError, AttributeError) as error:
            return [said.getvalue().strip() or f"{type(error).__name__}: {error}"]
        schema = submit_schema()
        schema.validate(etree.parse(xml))
        return [entry.message for entry in schema.error_log]


def fresh_converter():
    """The converter as a new module: it keeps what it has read in globals, and so reads one file only."""
    spec = importlib.util.find_spec("ades.psvtoxml")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
