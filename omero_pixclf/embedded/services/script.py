"""IScript: upload, list and run scripts, and get their parameters."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from dataclasses import replace
from typing import Any

import Ice
import omero
import omero.api
import omero.grid
import omero.model
from omero.constants.categories import PROCESSCALLBACK
from omero.constants.namespaces import NSDYNAMIC
from omero.rtypes import RSetI, rlist, robject, rstring

from omero_pixclf.embedded.database.fetching import readable_ids
from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.database.sqlite import now_ms
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error, security_violation, validation_error
from omero_pixclf.embedded.server.jobs import (
    SCRIPT_MIMETYPES,
    Script,
    find_job_output,
    find_script,
    insert_job,
    update_job,
)
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.script_processors import Processor
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction, writes_database
from omero_pixclf.embedded.services.job_handle import load_job
from omero_pixclf.embedded.services.script_files import (
    digest,
    is_accepted,
    owner_conditions,
    script_mimetype,
    split_path,
    write_script,
)
from omero_pixclf.embedded.services.script_process import ScriptProcess
from omero_pixclf.embedded.storage.data_paths import file_path, remove_files
from omero_pixclf.embedded.storage.repositories import SCRIPTS, ensure_repositories, repository_uuid
from omero_pixclf.embedded.users.access_rights import SYSTEM_GROUP, USER_GROUP
from omero_pixclf.embedded.users.logins import open_session
from omero_pixclf.embedded.users.sessions import ClientSession

__all__ = ["ScriptService"]

_WAIT_S = 5
_TIMEOUT_MS = 3_600_000
_PROCESS = {"omero.launcher": "", "omero.process": "omero.processor.ProcessI"}


class ScriptService(OmeroService):
    """omero.api.IScript."""

    interface = omero.api.IScript

    # ---- looking up ------------------------------------------------------------------------------------------
    @without_transaction
    def getScriptID(self, context: Any, path: str) -> int:
        ensure_repositories(self.server.database)
        with self.transaction(context) as call:
            return self._official_id(call, path) or -1

    def _official_id(self, call: RequestContext, path: str, *, scripts_only: bool = True) -> int | None:
        folder, name = split_path(path)
        row = call.tx.one(
            "SELECT id, mimetype FROM originalfile WHERE repo = ? AND path = ? AND name = ? ORDER BY id",
            (repository_uuid(call.tx, SCRIPTS), folder, name),
        )
        return row[0] if row and (not scripts_only or row[1] in SCRIPT_MIMETYPES) else None

    @without_transaction
    def getScripts(self, context: Any) -> list[Any]:
        return self._list_scripts(context, SCRIPT_MIMETYPES)

    @without_transaction
    def getScriptsByMimetype(self, context: Any, mimetype: str) -> list[Any]:
        return self._list_scripts(context, (mimetype,))

    def _list_scripts(self, context: Any, mimetypes: tuple[str, ...]) -> list[Any]:
        ensure_repositories(self.server.database)
        marks = ", ".join("?" * len(mimetypes))
        with self.transaction(context) as call:
            sql = f"SELECT id FROM originalfile WHERE repo = ? AND mimetype IN ({marks}) ORDER BY path, name, id"
            ids = [row[0] for row in call.tx.all(sql, (repository_uuid(call.tx, SCRIPTS), *mimetypes))]
            return _files(call, ids)

    @without_transaction
    def getUserScripts(self, context: Any, accepts: list[Any]) -> list[Any]:
        ensure_repositories(self.server.database)
        with self.transaction(context) as call:
            conditions, values = owner_conditions(accepts)
            if not conditions:
                conditions, values = ["group_id = ?"], [self.session.group_id]
            marks = ", ".join("?" * len(SCRIPT_MIMETYPES))
            sql = (
                f"SELECT id FROM originalfile WHERE mimetype IN ({marks}) AND coalesce(repo, '') <> ? "
                f"AND {' AND '.join(conditions)}"
            )
            rows = call.tx.all(sql, (*SCRIPT_MIMETYPES, repository_uuid(call.tx, SCRIPTS), *values))
            return _files(call, readable_ids(call, "OriginalFile", [row[0] for row in rows]))

    def getScriptText(self, call: RequestContext, ident: int) -> str:
        return self._text(call, ident) or ""

    def _text(self, call: RequestContext, ident: int) -> str | None:
        script = find_script(call, ident)
        return None if script is None else file_path(call.folder, ident).read_text(encoding="utf-8")

    def getScriptWithDetails(self, call: RequestContext, ident: int) -> Any:
        text = self._text(call, ident)
        return {} if text is None else {text: robject(_files(call, [ident])[0])}

    @without_transaction
    def getParams(self, context: Any, ident: int) -> Any:
        with self.transaction(context) as call:
            script = find_script(call, ident)
        return None if script is None else self._params(context, script)

    @without_transaction
    def canRunScript(self, context: Any, ident: int) -> bool:
        with self.transaction(context) as call:
            script = find_script(call, ident)
        if script is None:
            return False
        if script.official:
            return True
        try:
            self._user_processor(context, script)
        except omero.NoProcessorAvailable:
            return False
        return True

    def validateScript(self, call: RequestContext, job: Any, accepts: list[Any]) -> Any:
        """Return a job's script if it is one of those accepted; official ones if nobody is named."""
        wide = call.in_group(None) if accepts else call.as_admin()
        load_job(wide, job.id.val)
        rows = call.tx.all("SELECT child FROM joboriginalfilelink WHERE parent = ?", (job.id.val,))
        found = [s for s in (find_script(wide, row[0]) for row in rows) if s is not None]
        if accepts:
            found = [s for s in found if is_accepted(s, accepts)]
        if len(found) != 1:
            raise validation_error(f"Found wrong number of files: {[s.ident for s in found]}")
        if not accepts and not found[0].official:
            return None
        return _files(wide, [found[0].ident])[0]

    # ---- storing ---------------------------------------------------------------------------------------------
    @without_transaction
    def uploadOfficialScript(self, context: Any, path: str, text: str) -> int:
        ensure_repositories(self.server.database)
        with self.transaction(context, write=True) as call:
            if not call.caller.has_privilege("WriteScriptRepo"):
                raise security_violation("No permission to upload script")
            if self._official_id(call, path) is not None:
                raise api_usage_error(
                    f"Path already exists: {path}\nUse editScript to modify existing official scripts."
                )
            old = self._official_id(call, path, scripts_only=False)
            if old is not None:
                call.tx.execute("UPDATE originalfile SET repo = NULL WHERE id = ?", (old,))
            ident = int(call.tx.new_id("originalfile"))
            self._insert_official(call, ident, path, text)
            write_script(call, ident, text)
        self._check(context, ident)
        return ident

    def _insert_official(self, call: RequestContext, ident: int, path: str, text: str) -> None:
        folder, name = split_path(path)
        sha1, size = digest(text)
        now = now_ms()
        hasher = call.tx.one("SELECT id FROM checksumalgorithm WHERE value = 'SHA1-160'")[0]
        call.tx.execute(
            "INSERT INTO originalfile (id, owner_id, group_id, creation_id, update_id, path, name, repo, mimetype, "
            "hash, hasher, size, mtime) VALUES (?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                ident,
                USER_GROUP,
                call.event_id,
                call.event_id,
                folder,
                name,
                repository_uuid(call.tx, SCRIPTS),
                script_mimetype(name),
                sha1,
                hasher,
                size,
                now,
            ),
        )

    @without_transaction
    def uploadScript(self, context: Any, path: str, text: str) -> int:
        with self.transaction(context, write=True) as call:
            folder, name = split_path(path)
            file = omero.model.OriginalFileI()
            file.path, file.name, file.mimetype = rstring(folder), rstring(name), rstring(script_mimetype(name))
            saver = Saver(call)
            ident = int(saver.save(file).id.val)
            saver.flush()
            write_script(call, ident, text)
        self._check(context, ident)
        return ident

    @without_transaction
    def editScript(self, context: Any, file: Any, text: str) -> None:
        if file is None:
            raise api_usage_error("file object cannot be null")
        ident = file.id.val
        with self.transaction(context, write=True) as call:
            row = call.tx.one("SELECT owner_id, group_id, name FROM originalfile WHERE id = ?", (ident,))
            if row is None or not call.caller.may_read(row[0], row[1]):
                raise api_usage_error(f"could not find file: {ident}")
            if not call.graph.rights(row[0], row[1], file=ident).edit:
                raise security_violation(f"Updating ome.model.core.OriginalFile:Id_{ident} not allowed.")
            call.tx.execute("UPDATE originalfile SET mimetype = ? WHERE id = ?", (script_mimetype(row[2]), ident))
            write_script(call, ident, text)
        self._check(context, ident)

    @writes_database
    def deleteScript(self, call: RequestContext, ident: int) -> None:
        script = find_script(call, ident)
        if script is None:
            raise api_usage_error(f"No script with id {ident} on server.")
        if not call.graph.rights(script.owner, script.group, file=ident).delete:
            raise security_violation(f"No permission to delete script with id {ident}")
        call.tx.execute("DELETE FROM joboriginalfilelink WHERE child = ?", (ident,))
        call.tx.execute("DELETE FROM originalfile WHERE id = ?", (ident,))
        call.tx.after_commit.append(lambda: remove_files(call.folder, "OriginalFile", [ident]))

    def _check(self, context: Any, ident: int) -> None:
        """Turn a script whose parameters cannot be parsed into plain text, and raise the error."""
        with self.transaction({**context, "omero.group": "-1"}) as call:
            script = find_script(call, ident)
        if script is None:
            return
        try:
            self._params(context, script)
        except omero.NoProcessorAvailable:
            return  # a user's script: its parameters are read when it is run
        except omero.ValidationException:
            with self.server.database.writing() as tx:
                tx.execute("UPDATE originalfile SET mimetype = 'text/plain' WHERE id = ?", (ident,))
            raise

    # ---- parameters ------------------------------------------------------------------------------------------
    def _params(self, context: Any, script: Script) -> Any:
        """Return a script's parameters, found by running it once and cached by its checksum.

        Scripts whose parameters depend on the user (namespace NSDYNAMIC) are run each time, as that user.
        """
        known, key = self.server.processors.parameters, (script.ident, script.sha1)
        if key not in known:
            known[key] = self._parse_parameters(context, script, as_root=script.official)
        if NSDYNAMIC in (known[key].namespaces or []):
            return self._parse_parameters(context, script)
        return known[key]

    def _parse_parameters(self, context: Any, script: Script, *, as_root: bool = False) -> Any:
        job, session = self._create_job(context, script, "ParseJob", as_root=as_root)
        try:
            processor = self._processor(context, script, job, _WAIT_S)
            found = _ask(processor, lambda p: p.parseJob(session.uuid, job, _PROCESS))
            if found is None:
                raise validation_error(self._parse_error_text(script, job.id.val))
            return found
        finally:
            self.server.sessions.close(session)

    def _parse_error_text(self, script: Script, job: int) -> str:
        parts = [f"Can't find params for {script.ident}!"]
        with self.server.database.reading() as tx:
            for name in ("stdout", "stderr"):
                file = find_job_output(tx, job, name)
                if file is not None:
                    text = file_path(self.server.folder, file).read_text(encoding="utf-8", errors="replace")
                    parts.append(f"{name} is in file {file}:\n{text}")
        return "\n".join(parts)

    # ---- running ---------------------------------------------------------------------------------------------
    @without_transaction
    def runScript(self, context: Any, ident: int, inputs: dict[str, Any], wait: Any) -> Any:
        seconds = _WAIT_S if wait is None else wait.val
        with self.transaction(context) as call:
            call.graph.get("OriginalFile", ident)
            script = find_script(call, ident)
        if script is None:
            message = "No processor available! [0 response(s)]"
            raise omero.NoProcessorAvailable("", "omero.NoProcessorAvailable", message, 0)
        job, session = self._create_job(context, script, "ScriptJob")
        try:
            processor = self._processor(context, script, job, seconds)
            params = self._params(context, script)
            session.inputs.update({k: _as_stored(v) for k, v in (inputs or {}).items()})
            process = _ask(processor, lambda p: p.processJob(session.uuid, params, job, _PROCESS))
        except omero.ServerError as error:
            self._fail(job.id.val, error)
            self.server.sessions.close(session)
            raise
        reachable = processor.process_proxy(process)
        running = ScriptProcess(self.server, self.session, job, session, reachable)
        return self.server.add_object(self.session, PROCESSCALLBACK, running, "omero.grid.ScriptProcess")

    def _fail(self, job: int, error: Any) -> None:
        with self.server.database.writing() as tx:
            update_job(tx, job, "Error", str(error.message or ""))

    def _create_job(
        self, context: Any, script: Script, kind: str, *, as_root: bool = False
    ) -> tuple[Any, ClientSession]:
        """Create a job and the session it runs in."""
        with self.transaction(context, write=True) as call:
            user, group = call.caller.user_id, call.caller.group_id
            group = self.session.group_id if group is None else group
            if as_root:
                call, user, group = call.as_admin(), 0, SYSTEM_GROUP
                call.caller = replace(call.caller, group_id=group)
            job = load_job(call, insert_job(call, kind, [script.ident]))
            session = open_session(
                self.server.sessions,
                call.tx,
                user,
                group,
                agent="OMERO.scripts",
                idle_ms=0,
                live_ms=_timeout_ms(call),
                event_type="Processing",
            )
        return job, session

    def _processor(self, context: Any, script: Script, job: Any, seconds: float) -> Processor:
        if script.official:
            own: Processor = self.server.processors.own_processor()
            return own
        group = job.details.group.id.val
        found: Processor = self.server.processors.find_accepting(job, self.session.user_id, group, seconds)
        return found

    def _user_processor(self, context: Any, script: Script) -> Processor:
        """Return the processor that would run a user's script."""
        return self._processor(context, script, self._create_job(context, script, "ScriptJob")[0], _WAIT_S)


def _timeout_ms(call: RequestContext) -> int:
    """Return the time limit of scripts."""
    row = call.tx.one("SELECT value FROM configuration WHERE name = 'omero.scripts.timeout'")
    return int(row[0]) if row is not None and row[0] else _TIMEOUT_MS


def _ask(processor: Processor, question: Any) -> Any:
    """Return a processor's answer; InternalException if the processor is gone."""
    try:
        return question(processor.proxy)
    except (Ice.LocalException, Ice.ObjectNotExistException) as error:
        raise omero_error(omero.InternalException, f"the processor is gone: {error}") from error


def _files(call: RequestContext, ids: list[int]) -> list[Any]:
    found = call.graph.load("OriginalFile", ids)
    call.graph.finish_loading()
    return [found[i] for i in ids]


def _as_stored(value: Any) -> Any:
    """Convert sets to lists: a session's variables have lists only."""
    return rlist(list(value.val)) if isinstance(value, RSetI) else value
