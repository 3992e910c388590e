"""The fuzzing server of the Autobahn test suite: server.py PORT FOLDER [CASES]. It is written in Python 2, and so is this."""

import sys
import types
import unittest

import twisted.internet

# The suite imports these, and uses neither here: the first is for wss, and wants an OpenSSL for Python 2.
twisted.internet.ssl = sys.modules["twisted.internet.ssl"] = types.ModuleType("ssl")
sys.modules["unittest2"] = unittest

from twisted.internet import reactor
import autobahntestsuite.fuzzing as fuzzing
from autobahn.twisted.websocket import listenWS

PORT, FOLDER = sys.argv[1:3]
CASES = sys.argv[3].split(",") if len(sys.argv) > 3 else ["*"]

listenWS(
    fuzzing.FuzzingServerFactory(
        {
            "url": "ws://127.0.0.1:" + PORT,
            "outdir": FOLDER,
            "cases": CASES,
            "exclude-cases": [],
            "exclude-agent-cases": {},
            "options": {"failByDrop": False},
        }
    )
)
sys.stdout.write("up\n")
sys.stdout.flush()
reactor.run()
