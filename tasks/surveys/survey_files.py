"""A survey's files in the bucket: what people put there, its state, and writes that may happen twice."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from tasks.bucket.content import Body, ScratchFile, blocks_of, content_of
from tasks.bucket.layout import SurveyLayout
from tasks.bucket.store import MUST_NOT_EXIST, Bucket
from tasks.errors import BadInputError, GenerationMismatchError, ObjectNotFoundError
from tasks.inputs.catalogue_file import CatalogueFile, read_catalogue
from tasks.inputs.config_file import Config, read_config
from tasks.jobs.checkpoints import table_from_parquet
from tasks.records.survey import SurveySettings, SurveyState
from tasks.surveys.objects import MEMBER_FIELDS, ORBIT_FIELDS, SurveyObjects
from tasks.wording import counted


@dataclass(frozen=True)
class SurveyFiles:
    """A survey in its bucket."""

    bucket: Bucket
    layout: SurveyLayout

    def read_settings(self) -> SurveySettings:
        """Return what a person says of the survey; raises BadInputError when it can't be used."""
        body = self.read(self.layout.settings)
        try:
            return SurveySettings.from_bytes(body) if body is not None else SurveySettings()
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise BadInputError(f"Cannot use {self.layout.settings}: {where}: {first['msg']}. Correct it.") from error

    def read_config(self) -> Config:
        """Return the settings of the survey's jobs; raises BadInputError when they can't be used."""
        with self.fetched(self.layout.config) as path:
            config = read_config(path) if path is not None else Config()
        if config.observations_format.exposures is not None:
            raise BadInputError(
                f"Cannot use {self.layout.config}: it names a file of exposures, and who puts objects in a bucket may "
                "read no files of this machine. Put the times in the tables."
            )
        return config

    @contextmanager
    def catalogue(self) -> Iterator[CatalogueFile | None]:
        """Give the catalogue of known objects, while the block lasts; None: there is none."""
        names = [info.name for info in self.bucket.list(self.layout.catalogue)]
        if len(names) > 1:
            raise BadInputError(
                f"Cannot use {self.layout.catalogue}: it holds {counted(len(names), 'object')}, expected one."
            )
        with self.fetched(names[0] if names else None) as path:
            yield read_catalogue(path) if path is not None else None

    @contextmanager
    def fetched(self, name: str | None) -> Iterator[Path | None]:
        """Give an object as a file of its own name, while the block lasts; None: it is not there."""
        with tempfile.TemporaryDirectory(prefix="thor-survey-") as folder:
            content = ScratchFile()
            if name is None or not self._is_downloaded(name, content):
                yield None
                return
            path = Path(folder) / PurePosixPath(name).name
            with path.open("wb") as file:
                for block in blocks_of(content_of(content)):
                    file.write(block)
            try:
                yield path
            except BadInputError as error:
                # People know the object, and not the directory.
                raise BadInputError(str(error).replace(str(path), name)) from error

    def _is_downloaded(self, name: str, into: ScratchFile) -> bool:
        try:
            self.bucket.download(name, into)
        except ObjectNotFoundError:
            return False
        return True

    def read(self, name: str) -> bytes | None:
        """Return an object, or None when it is not there."""
        try:
            return self.bucket.read(name).body
        except ObjectNotFoundError:
            return None

    def create(self, name: str, body: Body) -> bool:
        """Write an object that never changes, and tell whether it was not there."""
        try:
            self.bucket.write(name, body, if_generation=MUST_NOT_EXIST)
        except GenerationMismatchError:
            return False
        return True

    def read_state(self) -> SurveyState:
        """Return the state; an empty one when there is none yet."""
        body = self.read(self.layout.state)
        return SurveyState() if body is None else SurveyState.from_bytes(body)

    def change_state(self, change: Callable[[SurveyState], SurveyState]) -> SurveyState:
        """Change the state by compare-and-swap, again and again until no other process did so meanwhile."""
        while True:
            try:
                stored = self.bucket.read(self.layout.state)
                state, generation = SurveyState.from_bytes(stored.body), stored.generation
            except ObjectNotFoundError:
                state, generation = SurveyState(), MUST_NOT_EXIST
            changed = change(state)
            if changed == state:
                return state
            try:
                self.bucket.write(self.layout.state, changed.to_bytes(), if_generation=generation)
            except GenerationMismatchError:
                continue
            return changed


ORBITS_LEAF, MEMBERS_LEAF = "orbits.parquet", "members.parquet"


def objects_in(files: SurveyFiles, folder: str) -> SurveyObjects:
    """Return the objects that lie in a folder of a night."""
    orbits, members = (
        table_from_parquet(files.bucket.read(files.layout.night(folder, leaf)).body).cast(schema)
        for leaf, schema in ((ORBITS_LEAF, ORBIT_FIELDS), (MEMBERS_LEAF, MEMBER_FIELDS))
    )
    return SurveyObjects(orbits, members)
