"""Reading what a page's form sends: fields, perhaps one file, and the form token that proves whose page it was."""

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from deeptraffic.competition.web.site import viewer_of

TOKEN_FIELD = "form_token"
MAX_FIELDS = 60
MAX_FIELD = 1_000_000  # [bytes]


@dataclass(frozen=True)
class Form:
    """A form's fields, as texts, and its file: name and content, if one was chosen."""

    fields: dict[str, str]
    filename: str = ""
    content: bytes = b""

    def text(self, name: str) -> str:
        """Return a field, "" if it is missing."""
        return self.fields.get(name, "").strip()


async def checked_form(request: Request) -> Form:
    """Return the form that a page of ours sent for this very viewer; 403 if it was not so."""
    fields: dict[str, str] = {}
    filename, content = "", b""
    async with request.form(max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD) as data:
        for name, value in data.multi_items():
            if isinstance(value, UploadFile):
                filename, content = value.filename or "", await value.read()
            else:
                fields[name] = value
    given = fields.pop(TOKEN_FIELD, "")
    if not hmac.compare_digest(given.encode("utf-8", "replace"), viewer_of(request).form_token.encode()):
        raise HTTPException(403, "This form is too old, or came from elsewhere. Open its page anew and send it again.")
    return Form(fields, filename, content)


SentForm = Annotated[Form, Depends(checked_form)]
