# SPDX-License-Identifier: Apache-2.0
"""One person with slixmpp and python's twomemo: urn:xmpp:omemo:2 and nothing else.

slixmpp-omemo makes and opens the new wire's keys but not its envelopes
(XEP-0420), so they are spelled here.
"""
import xml.etree.ElementTree as ET
from slixmpp import JID
import slixmpp_omemo.xep_0384 as plugin
import twomemo.etree
from slixmpp_person import Slixmpp

WIRE, SCE = "urn:xmpp:omemo:2", "{urn:xmpp:sce:1}"
both_wires = plugin._make_session_manager


def make_session_manager(xmpp, of):
    """The library's session manager, with one wire where that is asked for."""
    manager = both_wires(xmpp, of)
    if not getattr(xmpp, "new_wire_only", False):
        return manager

    class OneWire(manager):
        @classmethod
        async def create(cls, backends, *rest, **options):
            return await super().create([b for b in backends if b.namespace == WIRE], *rest, **options)
    return OneWire


plugin._make_session_manager = make_session_manager


class Twomemo(Slixmpp):
    program = "twomemo"
    wires = {WIRE}

    def prepare(self, connection):
        connection.new_wire_only = True

    async def sealed(self, m, to, text):
        manager = await self.connection["xep_0384"].get_session_manager()
        await manager.refresh_device_list(WIRE, to)
        envelope = ET.Element(SCE + "envelope")
        ET.SubElement(ET.SubElement(envelope, SCE + "content"), "{jabber:client}body").text = text
        ET.SubElement(envelope, SCE + "rpad").text = "x" * 100
        ET.SubElement(envelope, SCE + "from", jid=self.name + "@localhost")
        messages, errors = await manager.encrypt(frozenset([to]), {WIRE: ET.tostring(envelope)}, [WIRE])
        if errors:
            raise RuntimeError(errors)
        m["body"] = "This message is encrypted."
        m.enable("store")
        for sealed in messages:
            m.append(twomemo.etree.serialize_message(sealed))
        return m

    async def opened(self, m):
        manager = await self.connection["xep_0384"].get_session_manager()
        element = m.xml.find("{%s}encrypted" % WIRE)
        if element is None:
            return None  # for other devices of ours
        plain, _, _ = await manager.decrypt(twomemo.etree.parse_message(element, JID(m["from"]).bare))
        return plain and ET.fromstring(plain).findtext("%scontent/{jabber:client}body" % SCE)
