# SPDX-License-Identifier: Apache-2.0
# Reads documents, one a line in base64, by libexpat; writes for each what it
# says in base64, or "!" when libexpat refuses it.
import base64
import sys
from xml.parsers import expat


def name(n):
    space, _, local = n.rpartition("\n")
    return "{" + space + "}" + local


def read(doc):
    p = expat.ParserCreate(namespace_separator="\n")
    p.ordered_attributes = True
    p.buffer_text = False
    out = []

    def start(n, attrs):
        out.append(name(n) + "[")
        for i in range(0, len(attrs), 2):
            out.append(name(attrs[i]) + "=" + attrs[i + 1] + ";")
        out.append("](")

    p.StartElementHandler = start
    p.EndElementHandler = lambda n: out.append(")")
    p.CharacterDataHandler = out.append
    p.Parse(doc, True)
    return "".join(out)


for line in sys.stdin:
    try:
        said = read(base64.b64decode(line))
        print(base64.b64encode(said.encode()).decode(), flush=False)
    except (expat.ExpatError, UnicodeError):
        print("!")
